#include "core/data/tokenizer/import_flags.h"

#include "core/data/token_shard.h"
#include "core/data/tokenizer/prepare_flags.h"

namespace wavefield {

CLI::App* AddImportCommand(CLI::App& app, ImportFlags& flags) {
  ImportOptions& options = flags.options;
  CLI::App* command = app.add_subcommand("import", "make a dataset of files of token ids");
  command->add_option("--train", options.train, "files of little-endian token ids")->required();
  CLI::Option* validation =
      command->add_option("--validation", options.validation, "files of held-out token ids");
  AddDatasetOptions(*command, {.output = &flags.output,
                               .name = &options.name,
                               .shard_tokens = &options.shard_tokens,
                               .json_progress = &flags.json_progress});
  command
      ->add_option("--format", options.format.layout,
                   "raw (ids alone, as nanoGPT writes them) or llm.c (behind its header); default: "
                   "by what a file begins with")
      ->check(CLI::IsMember({"raw", "llm.c"}));
  command->add_option("--dtype", options.format.type, "type of raw ids; default uint16")
      ->check(CLI::IsMember({"uint16", "uint32"}));
  command
      ->add_option("--vocab-size", options.vocab_size,
                   "every id is below it; needed without --model")
      ->check(CLI::Range(int64_t{1}, kMaxVocabSize));
  command->add_option("--separator-id", options.separator_id,
                      "the id at the end, or the beginning, of each document");
  CLI::Option* model = command->add_option("--model", options.model_file,
                                           "the SentencePiece model that made the ids");
  command
      ->add_option("--token-bytes", options.token_bytes_file,
                   "a JSON list of the bytes of text of every id, in place of --model")
      ->excludes(model);
  command
      ->add_option("--validation-fraction", options.validation_fraction,
                   "share of the tokens that is held out (default: 0.01; up to 0.05 of few tokens)")
      ->check(CLI::Range(0.0, 0.5))
      ->excludes(validation);
  return command;
}

}  // namespace wavefield
