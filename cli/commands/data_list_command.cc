#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"

namespace wavefield {
namespace {

std::string FormatDatasets(const v1::ListDatasetsResponse& datasets) {
  Table table({{"DATASET"},
               {"TOKENIZER"},
               {"VOCABULARY", Align::kRight},
               {"TRAIN TOKENS", Align::kRight},
               {"VALIDATION TOKENS", Align::kRight},
               {"DOCUMENTS", Align::kRight},
               {"TEXT", Align::kRight},
               {"AGE", Align::kRight}});
  for (const v1::Dataset& dataset : datasets.datasets()) {
    table.AddRow({ResourceId(dataset.name()), dataset.tokenizer(),
                  FormatInteger(dataset.vocab_size()), FormatInteger(dataset.train_tokens()),
                  FormatInteger(dataset.validation_tokens()), FormatInteger(dataset.documents()),
                  dataset.text_bytes() > 0 ? FormatBytes(static_cast<double>(dataset.text_bytes()))
                                           : "not known",
                  FormatAge(dataset.create_time(), absl::Now())});
  }
  return table.ToString();
}

absl::StatusOr<int> Run(bool json, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListDatasetsResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::DatasetService::Stub::ListDatasets,
                                 v1::ListDatasetsRequest(),
                                 [&](const v1::ListDatasetsResponse& page) {
                                   all.mutable_datasets()->MergeFrom(page.datasets());
                                 }));
  if (json) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (all.datasets().empty()) {
    std::fprintf(stderr, "No datasets. Make one with 'wavefield data prepare' or 'data import'.\n");
  } else {
    std::printf("%s", FormatDatasets(all).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddDataListCommand(CLI::App& parent, CommandContext& context) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = parent.add_subcommand("list", "List datasets");
  command->add_flag("--json", *json, "print a ListDatasetsResponse as JSON");
  context.OnCommand(command, [&context, json] { return Run(*json, context.connection); });
}

}  // namespace wavefield
