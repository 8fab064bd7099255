#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/dataset_creation.h"
#include "cli/resource_names.h"
#include "cli/source_files.h"
#include "core/base/status_macros.h"

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

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::CreateDatasetConfig config;
  WF_ASSIGN_OR_RETURN(const std::string name, ParseDatasetName(flags.name));
  config.set_dataset_id(ResourceId(name));
  *config.mutable_options() = Options(flags);
  WF_ASSIGN_OR_RETURN(std::vector<LocalSource> sources, FindSources(flags.inputs));
  if (flags.tokenizer && *flags.tokenizer != "bpe" && *flags.tokenizer != "bytes") {
    if (!std::filesystem::exists(*flags.tokenizer)) {
      return absl::InvalidArgumentError(
          fmt::format("--tokenizer {} is neither bpe, bytes nor a file", *flags.tokenizer));
    }
    if (flags.vocab_size) {
      return absl::InvalidArgumentError(
          "--vocab-size: the SentencePiece model decides it; leave it out");
    }
    config.mutable_options()->set_tokenizer("sentencepiece");
    WF_RETURN_IF_ERROR(AddFilesOfKind({*flags.tokenizer}, "--tokenizer",
                                      v1::SOURCE_KIND_SENTENCEPIECE_MODEL, sources));
  }
  return CreateAndPrintDataset(connection, std::move(config), std::move(sources), flags.json);
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
  command->add_option("--tokenizer", flags->tokenizer,
                      "bpe (default), bytes: one token per byte, or the file of a SentencePiece "
                      "model");
  command->add_option("--field", flags->field, "of .jsonl: the field with the text; default text");
  command->add_option("--validation-fraction", flags->validation_fraction,
                      "share of the text that is held out; default 0.01");
  command->add_option("--document-separator", flags->document_separator,
                      "a line that divides .txt files into documents");
  command->add_flag("--json", flags->json, "print the Dataset as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
