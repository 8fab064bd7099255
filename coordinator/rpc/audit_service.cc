#include "coordinator/rpc/audit_service.h"

#include "absl/strings/numbers.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/filter.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

// Entries that are read at a time, and that one call looks at: a page may be short, or empty,
// before the end.
constexpr int kBatch = 1000;
constexpr int kMaxLookedAt = 100'000;

const std::vector<FilterField>& Fields() {
  static const auto* const fields =
      new std::vector<FilterField>{{"principal"},
                                   {"role"},
                                   {"method"},
                                   {"resource"},
                                   {"peer"},
                                   {"result"},
                                   {"time", FilterField::Kind::kTime}};
  return *fields;
}

FilterValue ValueOf(const v1::AuditEntry& entry, const std::string& field) {
  if (field == "time") return FromTimestamp(entry.time());
  const std::string& text = field == "principal"  ? entry.principal()
                            : field == "role"     ? entry.role()
                            : field == "method"   ? entry.method()
                            : field == "resource" ? entry.resource()
                            : field == "peer"     ? entry.peer()
                                                  : entry.result();
  if (text.empty()) return std::monostate();
  return text;
}

}  // namespace

grpc::ServerUnaryReactor* AuditService::ListAuditEntries(grpc::CallbackServerContext* call,
                                                         const v1::ListAuditEntriesRequest* request,
                                                         v1::ListAuditEntriesResponse* response) {
  return RunUnary(call, context_.calls, [=, this] { return List(*request, *response); });
}

absl::Status AuditService::List(const v1::ListAuditEntriesRequest& request,
                                v1::ListAuditEntriesResponse& response) {
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  WF_ASSIGN_OR_RETURN(const Filter filter, Filter::Parse(request.filter(), Fields()));
  const std::string scope = ListScope("audit", request.filter(), "");
  WF_ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  int64_t before = INT64_MAX;
  if (!position.empty() && !absl::SimpleAtoi(position, &before)) {
    return NotGivenOut();
  }
  return context_.store.Read([&](StoreReader& reader) -> absl::Status {
    for (int looked_at = 0; looked_at < kMaxLookedAt; looked_at += kBatch) {
      WF_ASSIGN_OR_RETURN(auto entries, reader.ListAuditEntries(before, kBatch));
      for (v1::AuditEntry& entry : entries) {
        if (response.entries_size() == size) {
          response.set_next_page_token(MakePageToken(scope, std::to_string(before)));
          return absl::OkStatus();
        }
        before = entry.sequence();
        if (filter.Matches([&](const std::string& field) { return ValueOf(entry, field); })) {
          *response.add_entries() = std::move(entry);
        }
      }
      if (entries.size() < kBatch) return absl::OkStatus();
    }
    response.set_next_page_token(MakePageToken(scope, std::to_string(before)));
    return absl::OkStatus();
  });
}

}  // namespace wavefield::coordinator
