#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/escaped_text.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kBarWidth = 40;

struct Flags {
  std::string dataset;
  int samples = 3;
  int sample_tokens = 64;
  int frequent_tokens = 20;
  bool json = false;
};

std::string FormatSplit(const v1::DatasetInspection::Split& split) {
  std::string text = FormatInteger(split.tokens()) + " tokens";
  if (split.documents() > 0) text += ", " + FormatInteger(split.documents()) + " documents";
  if (split.text_bytes() > 0) text += ", " + FormatInteger(split.text_bytes()) + " bytes of text";
  return text;
}

std::string FormatCounts(const v1::DatasetInspection& shown) {
  const v1::Dataset& dataset = shown.dataset();
  std::vector<std::pair<std::string, std::string>> fields = {
      {"dataset", ResourceId(dataset.name())},
      {"tokenizer",
       fmt::format("{}, vocabulary {}", dataset.tokenizer(), FormatInteger(dataset.vocab_size()))},
      {"separator", shown.separator_id() < 0 ? "none: documents are not told apart"
                                             : std::to_string(shown.separator_id())},
      {"training", FormatSplit(shown.train())},
      {"validation", FormatSplit(shown.validation())},
      {"tokens per byte", shown.tokens_per_byte() > 0
                              ? FormatFixed(shown.tokens_per_byte(), 4)
                              : "not known, and so neither are bits per byte"}};
  for (const std::string& warning : dataset.warnings()) fields.emplace_back("warning", warning);
  return FormatFields(fields);
}

std::string FormatSamples(const v1::DatasetInspection& shown) {
  std::string text;
  for (const auto& sample : shown.samples()) {
    text += fmt::format("\n{} tokens from {}:\n  {}\n", FormatInteger(sample.token_ids_size()),
                        FormatInteger(sample.position()),
                        shown.has_text() ? EscapedText(sample.text())
                                         : fmt::format("{}", fmt::join(sample.token_ids(), " ")));
  }
  return text;
}

std::string FormatFrequencies(const v1::DatasetInspection& shown) {
  if (shown.frequent_tokens().empty()) return "";
  Table table({{"TOKEN", Align::kRight},
               {"COUNT", Align::kRight},
               {"SHARE", Align::kRight},
               {"TEXT", Align::kLeft}});
  for (const auto& token : shown.frequent_tokens()) {
    const double share =
        static_cast<double>(token.count()) / static_cast<double>(shown.scanned_tokens());
    std::string text;
    if (token.token_id() == shown.separator_id()) {
      text = "(separator)";
    } else if (shown.has_text()) {
      text = "'" + EscapedText(token.text()) + "'";
    }
    table.AddRow({std::to_string(token.token_id()), FormatInteger(token.count()),
                  FormatFixed(100 * share, 2) + " %", text});
  }
  return fmt::format("\nthe most frequent of {} tokens that occur among {}{}:\n{}",
                     FormatInteger(shown.distinct_tokens()), FormatInteger(shown.scanned_tokens()),
                     shown.scanned_tokens() < shown.train().tokens()
                         ? fmt::format(" sampled of {}", FormatInteger(shown.train().tokens()))
                         : "",
                     table.ToString());
}

std::string FormatLengths(const v1::DatasetInspection& shown) {
  if (shown.scanned_documents() == 0) return "";
  std::string text = fmt::format(
      "\ntokens per document, of {} documents: p10 {}, p50 {}, p90 {}, max {}, mean {}\n",
      FormatInteger(shown.scanned_documents()), FormatInteger(shown.document_tokens_p10()),
      FormatInteger(shown.document_tokens_p50()), FormatInteger(shown.document_tokens_p90()),
      FormatInteger(shown.document_tokens_max()), FormatFixed(shown.document_tokens_mean(), 1));
  int64_t most = 1;
  for (const auto& bucket : shown.document_lengths()) most = std::max(most, bucket.documents());
  Table table({{"UP TO", Align::kRight}, {"DOCUMENTS", Align::kRight}, {"", Align::kLeft}});
  for (const auto& bucket : shown.document_lengths()) {
    const double part = static_cast<double>(bucket.documents()) / static_cast<double>(most);
    table.AddRow({FormatInteger(bucket.max_tokens()), FormatInteger(bucket.documents()),
                  std::string(static_cast<size_t>(part * kBarWidth + 0.5), '#')});
  }
  return text + table.ToString();
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::InspectDatasetRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseDatasetName(flags.dataset));
  request.set_samples(flags.samples);
  request.set_sample_tokens(flags.sample_tokens);
  request.set_frequent_tokens(flags.frequent_tokens);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::DatasetInspection shown,
                      session.Call(&v1::DatasetService::Stub::InspectDataset, request));
  if (flags.json) {
    std::printf("%s", ToJson(shown, true).c_str());
  } else {
    std::printf("%s%s%s%s", FormatCounts(shown).c_str(), FormatSamples(shown).c_str(),
                FormatFrequencies(shown).c_str(), FormatLengths(shown).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddDataShowCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("show", "Samples, token frequencies and document lengths of a dataset");
  command->add_option("DATASET", flags->dataset, "the dataset's name")->required();
  command->add_option("--samples", flags->samples, "samples of the training tokens")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--sample-tokens", flags->sample_tokens, "tokens of each sample")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--frequent", flags->frequent_tokens, "how many of the most frequent tokens")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "print the DatasetInspection as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
