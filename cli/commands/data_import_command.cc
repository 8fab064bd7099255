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
  std::vector<std::string> train;
  std::vector<std::string> validation;
  std::optional<std::string> format;
  std::optional<std::string> dtype;
  std::optional<int> vocab_size;
  std::optional<int> separator_id;
  std::vector<std::string> tokenizer;    // at most one
  std::vector<std::string> token_bytes;  // at most one
  std::optional<double> validation_fraction;
  bool json = false;
};

v1::DatasetOptions Options(const Flags& flags) {
  v1::DatasetOptions options;
  if (flags.format) options.set_token_format(*flags.format);
  if (flags.dtype) options.set_token_type(*flags.dtype);
  if (flags.vocab_size) options.set_vocab_size(*flags.vocab_size);
  if (flags.separator_id) options.set_separator_id(*flags.separator_id);
  if (flags.validation_fraction) options.set_validation_fraction(*flags.validation_fraction);
  return options;
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  v1::CreateDatasetConfig config;
  WF_ASSIGN_OR_RETURN(const std::string name, ParseDatasetName(flags.name));
  config.set_dataset_id(ResourceId(name));
  *config.mutable_options() = Options(flags);
  if (flags.tokenizer.empty() && !flags.vocab_size) {
    return absl::InvalidArgumentError("--vocab-size is needed where --tokenizer is not given");
  }
  std::vector<LocalSource> sources;
  WF_RETURN_IF_ERROR(AddFilesOfKind(flags.train, "--train", v1::SOURCE_KIND_TRAIN_TOKENS, sources));
  WF_RETURN_IF_ERROR(
      AddFilesOfKind(flags.validation, "--validation", v1::SOURCE_KIND_VALIDATION_TOKENS, sources));
  WF_RETURN_IF_ERROR(
      AddFilesOfKind(flags.tokenizer, "--tokenizer", v1::SOURCE_KIND_SENTENCEPIECE_MODEL, sources));
  WF_RETURN_IF_ERROR(
      AddFilesOfKind(flags.token_bytes, "--token-bytes", v1::SOURCE_KIND_TOKEN_BYTES, sources));
  return CreateAndPrintDataset(connection, std::move(config), std::move(sources), flags.json);
}

}  // namespace

void AddDataImportCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("import", "Make a dataset of token files (nanoGPT, llm.c)");
  command->add_option("--name", flags->name, "the dataset's name")->required();
  command->add_option("--train", flags->train, "files of little-endian token ids")->required();
  CLI::Option* validation =
      command->add_option("--validation", flags->validation, "files of held-out token ids");
  command
      ->add_option("--validation-fraction", flags->validation_fraction,
                   "share of the tokens that is held out where there is no --validation; default "
                   "0.01, more of few tokens")
      ->check(CLI::Range(0.0, 0.5))
      ->excludes(validation);
  command
      ->add_option("--format", flags->format,
                   "raw (ids alone, as nanoGPT writes them) or llm.c (behind its header); default: "
                   "by what a file begins with")
      ->check(CLI::IsMember({"raw", "llm.c"}));
  command->add_option("--dtype", flags->dtype, "type of raw ids; default uint16")
      ->check(CLI::IsMember({"uint16", "uint32"}));
  command
      ->add_option("--vocab-size", flags->vocab_size,
                   "every id is below it; needed without --tokenizer")
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--separator-id", flags->separator_id,
                   "the id at the end, or the beginning, of each document, such as 50256 of GPT-2")
      ->check(CLI::Range(0, (1 << 20) - 1));
  CLI::Option* tokenizer =
      command
          ->add_option("--tokenizer", flags->tokenizer,
                       "the SentencePiece model that made the ids: for generated text and bits per "
                       "byte")
          ->expected(1);
  command
      ->add_option(
          "--token-bytes", flags->token_bytes,
          "a JSON list of the bytes of text of every id, in place of --tokenizer: for bits "
          "per byte")
      ->expected(1)
      ->excludes(tokenizer);
  command->add_flag("--json", flags->json, "print the Dataset as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
