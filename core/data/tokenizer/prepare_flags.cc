#include "core/data/tokenizer/prepare_flags.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <thread>

#include "absl/strings/escaping.h"
#include "core/data/tokenizer/bpe_training.h"

namespace wavefield {
namespace {

std::string CheckName(const std::string& name) {
  const bool fits = !name.empty() && name.size() <= 63 && name[0] != '-' && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return c < 0x80 && (std::isalnum(c) || c == '-' || c == '_' || c == '.');
                    });
  if (fits) return "";
  return "'" + name +
         "' must be 1 to 63 letters, digits, '-', '_' or '.', not beginning with - or .";
}

}  // namespace

void AddDatasetOptions(CLI::App& command, const DatasetFlags& flags) {
  command
      .add_option("--output", *flags.output, "the dataset's directory, which must not exist yet")
      ->required();
  command.add_option("--name", *flags.name, "the dataset's name")->required()->check(CheckName);
  command.add_option("--shard-tokens", *flags.shard_tokens, "the most tokens in a file")
      ->check(CLI::Range(int64_t{1} << 10, int64_t{1} << 32))
      ->capture_default_str();
  command.add_flag("--json-progress", *flags.json_progress,
                   "print a JSON object per line to stdout");
}

CLI::App* AddPrepareCommand(CLI::App& app, PrepareFlags& flags) {
  PrepareOptions& options = flags.options;
  options.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 256u));
  CLI::App* command = app.add_subcommand("prepare", "make a dataset from text");
  command
      ->add_option("--input", options.corpus.inputs,
                   "files of .txt and .jsonl, also .gz, and folders of them")
      ->required();
  AddDatasetOptions(*command, {.output = &flags.output,
                               .name = &options.name,
                               .shard_tokens = &options.shard_tokens,
                               .json_progress = &flags.json_progress});
  command
      ->add_option_function<std::string>(
          "--tokenizer",
          [&options](const std::string& tokenizer) {
            options.tokenizer = tokenizer;
            if (tokenizer == "bpe" || tokenizer == "bytes") return;
            if (!std::filesystem::is_regular_file(tokenizer)) {
              throw CLI::ValidationError("--tokenizer",
                                         "'" + tokenizer + "' is neither bpe, bytes nor a file");
            }
            options.tokenizer = "sentencepiece";
            options.model_file = tokenizer;
          },
          "bpe (trained on the text), bytes, or the file of a SentencePiece model")
      ->default_str("bpe");
  command
      ->add_option("--vocab-size", options.vocab_size,
                   "pieces of a bpe tokenizer; fewer where the text supports no more")
      ->check(CLI::Range(kMinBpeVocabSize, kMaxBpeVocabSize))
      ->capture_default_str();
  command
      ->add_option("--field", options.corpus.field,
                   "the field with the text in the lines of .jsonl")
      ->capture_default_str();
  command
      ->add_option("--validation-fraction", options.validation_fraction,
                   "share of the text that is held out (default: 0.01; up to 0.05 of small texts)")
      ->check(CLI::Range(0.0, 0.5));
  command->add_option_function<std::string>(
      "--document-separator",
      [&options](const std::string& text) {
        if (!absl::CUnescape(text, &options.corpus.separator)) {
          throw CLI::ValidationError("--document-separator", "unknown escape sequence");
        }
      },
      "text between the documents of a .txt file, with escapes such as \\n (default: none, a file "
      "is one document)");
  command->add_option("--threads", options.threads, "threads that encode")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  return command;
}

}  // namespace wavefield
