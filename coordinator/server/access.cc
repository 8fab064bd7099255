#include "coordinator/server/access.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr char kNoToken[] =
    "a valid bearer token is needed: send 'authorization: Bearer TOKEN' with a token of the "
    "coordinator's token file";

}  // namespace

absl::StatusOr<std::unique_ptr<Access>> Access::Open(const std::string& token_file,
                                                     const Clock& clock) {
  std::unique_ptr<Access> access(new Access(token_file, clock));
  if (token_file.empty()) return access;
  access->stamp_ = StampOf(token_file);
  WF_ASSIGN_OR_RETURN(TokenTable table, TokenTable::Load(token_file));
  access->table_ = std::make_shared<const TokenTable>(std::move(table));
  return access;
}

Access::Table Access::table() const {
  std::lock_guard lock(mutex_);
  return table_;
}

absl::Status Access::Check(std::string_view path, const std::string& authorization,
                           Caller& caller) const {
  const Table table = this->table();
  if (table == nullptr || path.starts_with("/grpc.health.v1.Health/")) return absl::OkStatus();
  const TokenTable::Entry* entry = table->Find(authorization);
  if (entry == nullptr) return absl::UnauthenticatedError(kNoToken);
  if (clock_.Now() >= entry->expires) {
    return absl::UnauthenticatedError(
        fmt::format("the token expired on {}: get a new one from whoever runs the coordinator",
                    absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", entry->expires, absl::UTCTimeZone())));
  }
  caller = entry->caller;
  const MethodRule* rule = RuleFor(path);
  if (rule == nullptr) {
    return absl::UnimplementedError("the coordinator has no such method");
  }
  if (!Allows(caller.role, rule->least)) {
    return absl::PermissionDeniedError(fmt::format(
        "{} needs a token of role {}; that of '{}' has role {}", rule->method,
        rule->least == Role::kAdmin ? "admin" : fmt::format("{} or admin", NameOf(rule->least)),
        caller.name, NameOf(caller.role)));
  }
  return absl::OkStatus();
}

Caller Access::CallerOf(const std::string& authorization) const {
  Table now;
  Table before;
  {
    std::lock_guard lock(mutex_);
    now = table_;
    before = earlier_;
  }
  for (const Table& table : {now, before}) {
    if (table == nullptr) continue;
    if (const TokenTable::Entry* entry = table->Find(authorization)) return entry->caller;
  }
  return {};
}

void Access::Refresh() {
  if (token_file_.empty()) return;
  const FileStamp stamp = StampOf(token_file_);
  {
    std::lock_guard lock(mutex_);
    if (stamp == stamp_) return;
    stamp_ = stamp;
  }
  absl::StatusOr<TokenTable> read = TokenTable::Load(token_file_);
  if (!read.ok()) {
    spdlog::error("the tokens stay as they were: {}", std::string(read.status().message()));
    return;
  }
  std::lock_guard lock(mutex_);
  earlier_ = std::exchange(table_, std::make_shared<const TokenTable>(*std::move(read)));
  spdlog::info("the token file {} was read again", token_file_);
}

}  // namespace wavefield::coordinator
