#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/output_form.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"

namespace wavefield {
namespace {

std::string FormatDatasets(const v1::ListDatasetsResponse& datasets, const ViewStyle& style) {
  Table table({{"DATASET"},
               {"TOKENIZER"},
               {"VOCABULARY", Align::kRight},
               {"TRAIN TOKENS", Align::kRight},
               {"VALIDATION TOKENS", Align::kRight},
               {"DOCUMENTS", Align::kRight},
               {"TEXT", Align::kRight},
               {"CREATED", Align::kRight}});
  for (const v1::Dataset& dataset : datasets.datasets()) {
    table.AddRow({ResourceId(dataset.name()), dataset.tokenizer(),
                  FormatInteger(dataset.vocab_size()), FormatInteger(dataset.train_tokens()),
                  FormatInteger(dataset.validation_tokens()), FormatInteger(dataset.documents()),
                  dataset.text_bytes() > 0 ? FormatBytes(static_cast<double>(dataset.text_bytes()))
                                           : "not known",
                  style.When(dataset.create_time())});
  }
  return table.ToString(style.colors);
}

absl::StatusOr<int> Run(const OutputFlags& output, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListDatasetsResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::DatasetService::Stub::ListDatasets,
                                 v1::ListDatasetsRequest(),
                                 [&](const v1::ListDatasetsResponse& page) {
                                   all.mutable_datasets()->MergeFrom(page.datasets());
                                 }));
  if (output.json()) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (output.names()) {
    for (const v1::Dataset& dataset : all.datasets()) {
      PrintId(ResourceId(dataset.name()));
    }
  } else if (all.datasets().empty()) {
    std::fprintf(stderr, "No datasets. Make one with 'wavefield data prepare' or 'data import'.\n");
  } else {
    std::printf("%s", FormatDatasets(all, output.Style()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddDataListCommand(CLI::App& parent, CommandContext& context) {
  const auto output = std::make_shared<OutputFlags>();
  CLI::App* command = parent.add_subcommand("list", "List datasets");
  AddListOutputFlags(*command, *output, "a ListDatasetsResponse");
  context.OnCommand(command, [&context, output] { return Run(*output, context.connection); });
}

}  // namespace wavefield
