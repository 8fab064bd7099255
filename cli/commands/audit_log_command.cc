#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/views/display_text.h"
#include "cli/views/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/audit_service.grpc.pb.h"

namespace wavefield {
namespace {

struct Flags {
  std::string filter;
  int limit = 100;
  OutputFlags output;
};

std::string FormatEntries(const v1::ListAuditEntriesResponse& log, const ViewStyle& style) {
  std::vector<Column> columns = {{"TIME"},     {"WHO"},  {"ROLE"},   {"METHOD"},
                                 {"RESOURCE"}, {"FROM"}, {"RESULT"}, {"MESSAGE"}};
  if (style.wide) {
    columns.push_back({"REQUEST"});
    columns.push_back({"NUMBER", Align::kRight});
  }
  Table table(std::move(columns));
  const auto shown = [](const std::string& text) -> std::string {
    return text.empty() ? "-" : text;
  };
  for (const v1::AuditEntry& entry : log.entries()) {
    std::vector<Cell> cells = {
        style.When(entry.time()),
        shown(entry.principal()),
        entry.role(),
        entry.method(),
        shown(entry.resource()),
        shown(entry.peer()),
        {entry.result(), entry.result() == "OK" ? Color::kGreen : Color::kRed},
        style.wide ? shown(entry.message()) : CutToWidth(shown(entry.message()), 60)};
    if (style.wide) {
      cells.emplace_back(shown(entry.request_id()));
      cells.emplace_back(std::to_string(entry.sequence()));
    }
    table.AddRow(std::move(cells));
  }
  return table.ToString(style.colors);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListAuditEntriesRequest request;
  request.set_filter(flags.filter);
  WF_ASSIGN_OR_RETURN(
      const v1::ListAuditEntriesResponse log,
      ListUpTo(session, &v1::AuditService::Stub::ListAuditEntries, request, flags.limit,
               [](v1::ListAuditEntriesResponse& response) { return response.mutable_entries(); }));
  if (flags.output.json()) {
    std::printf("%s", ToJson(log, true).c_str());
  } else if (log.entries().empty()) {
    std::fprintf(stderr, "Nothing %s.\n",
                 flags.filter.empty() ? "was changed yet" : "in the log matches the filter");
  } else {
    std::printf("%s", FormatEntries(log, flags.output.Style()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddAuditLogCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "log", "Who changed what, when, from where, and how it ended, newest first; for admins");
  command->add_option("--filter", flags->filter,
                      "conditions on principal, role, method, resource, peer, result and time, as "
                      "in 'principal=ann AND result!=OK AND time>=2027-01-31T12:00:00Z'");
  AddLimitFlag(*command, flags->limit)->capture_default_str();
  AddOutputFlags(*command, flags->output, "a ListAuditEntriesResponse");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
