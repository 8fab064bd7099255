#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/dataset_upload.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/progress_bar.h"
#include "cli/resource_names.h"
#include "cli/source_files.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

struct Flags {
  std::string name;
  std::vector<std::string> inputs;
  std::optional<int> vocab_size;
  std::optional<std::string> tokenizer;
  std::optional<std::string> field;
  std::optional<double> validation_fraction;
  std::optional<std::string> document_separator;
  bool json = false;
};

v1::DatasetOptions Options(const Flags& flags) {
  v1::DatasetOptions options;
  if (flags.vocab_size) options.set_vocab_size(*flags.vocab_size);
  if (flags.tokenizer) options.set_tokenizer(*flags.tokenizer);
  if (flags.field) options.set_field(*flags.field);
  if (flags.validation_fraction) options.set_validation_fraction(*flags.validation_fraction);
  if (flags.document_separator) options.set_document_separator(*flags.document_separator);
  return options;
}

// Stages on stderr: a bar on a terminal, else a line each.
class StageProgress {
 public:
  void Show(const std::string& stage, int64_t done, int64_t total) {
    const std::string text = Describe(stage);
    if (stage != stage_) {
      stage_ = stage;
      bar_.Clear();
      if (!bar_.live() && stage != "done") std::fprintf(stderr, "%s\n", text.c_str());
    }
    const double fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : -1;
    bar_.Draw(fraction, fmt::format("{}  {} of {}", text, FormatBytes(static_cast<double>(done)),
                                    FormatBytes(static_cast<double>(total))));
  }
  void Clear() { bar_.Clear(); }

 private:
  static std::string Describe(const std::string& stage) {
    if (stage == "hash") return "hashing the files";
    if (stage == "upload") return "sending the text";
    if (stage == "read") return "reading the text";
    if (stage == "train") return "training the tokenizer";
    if (stage == "encode") return "encoding";
    return stage;
  }

  ProgressBar bar_{stderr};
  std::string stage_;
};

void PrintDataset(const UploadResult& result) {
  const v1::Dataset& dataset = result.dataset;
  const std::string id = ResourceId(dataset.name());
  if (result.existed) std::printf("%s is already prepared.\n", id.c_str());
  std::printf(
      "%s: %s training and %s validation tokens from %s documents (%s), %s tokenizer, vocabulary "
      "%s\n",
      id.c_str(), FormatInteger(dataset.train_tokens()).c_str(),
      FormatInteger(dataset.validation_tokens()).c_str(),
      FormatInteger(dataset.documents()).c_str(),
      FormatBytes(static_cast<double>(dataset.text_bytes())).c_str(), dataset.tokenizer().c_str(),
      FormatInteger(dataset.vocab_size()).c_str());
  for (const std::string& warning : dataset.warnings())
    std::printf("warning: %s\n", warning.c_str());
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::CreateDatasetConfig config;
  WF_ASSIGN_OR_RETURN(const std::string name, ParseDatasetName(flags.name));
  config.set_dataset_id(ResourceId(name));
  *config.mutable_options() = Options(flags);
  WF_ASSIGN_OR_RETURN(std::vector<LocalSource> sources, FindSources(flags.inputs));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));

  int64_t total = 0;
  for (const LocalSource& source : sources) total += source.bytes;
  StageProgress progress;
  WF_RETURN_IF_ERROR(
      HashSources(sources, [&](int64_t done) { progress.Show("hash", done, total); }));
  for (const LocalSource& source : sources) {
    v1::SourceFile* file = config.add_sources();
    file->set_path(source.path);
    file->set_bytes(source.bytes);
    file->set_sha256(source.sha256);
  }
  const auto show = [&](const v1::DatasetProgress& p) {
    progress.Show(p.stage(), p.done(), p.total());
  };
  absl::StatusOr<UploadResult> result = UploadDataset(session, config, sources, show);
  progress.Clear();
  WF_RETURN_IF_ERROR(result.status());
  if (flags.json) {
    std::printf("%s", ToJson(result->dataset, true).c_str());
  } else {
    PrintDataset(*result);
  }
  return kExitSuccess;
}

}  // namespace

void AddDataPrepareCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("prepare", "Make a dataset of text files");
  command->add_option("--name", flags->name, "the dataset's name")->required();
  command
      ->add_option("--input", flags->inputs,
                   "files (.txt, .jsonl, either with .gz or .dz) and directories of them")
      ->required();
  command->add_option("--vocab-size", flags->vocab_size, "pieces of the tokenizer; default 4096");
  command
      ->add_option("--tokenizer", flags->tokenizer, "bpe (default), or bytes: one token per byte")
      ->check(CLI::IsMember({"bpe", "bytes"}));
  command->add_option("--field", flags->field, "of .jsonl: the field with the text; default text");
  command->add_option("--validation-fraction", flags->validation_fraction,
                      "share of the text that is held out; default 0.01");
  command->add_option("--document-separator", flags->document_separator,
                      "a line that divides .txt files into documents");
  command->add_flag("--json", flags->json, "print the Dataset as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
