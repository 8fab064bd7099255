#include <filesystem>
#include <optional>
#include <string>

#include "core/base/command_line.h"
#include "core/data/tokenizer/commands.h"
#include "core/data/tokenizer/prepare_flags.h"

int main(int argc, char** argv) {
  wavefield::CommandLine command_line("wavefield-tokenizer",
                                      "Makes datasets of tokens from text, and looks into them.");
  CLI::App& app = command_line.app();
  app.require_subcommand(1);

  wavefield::PrepareFlags flags;
  std::filesystem::path dataset;
  std::optional<std::string> text;
  int sample_tokens = 64;
  const auto add = [&](const char* name, const char* description) {
    CLI::App* command = app.add_subcommand(name, description);
    command->add_option("directory,--dataset", dataset, "a dataset's directory")->required();
    return command;
  };
  const CLI::App* prepare = AddPrepareCommand(app, flags);
  CLI::App* encode = add("encode", "text to token ids");
  encode->add_option("--text", text, "the text (default: stdin)");
  CLI::App* decode = add("decode", "token ids to text");
  decode->add_option("--ids", text, "the ids (default: stdin)");
  CLI::App* show = add("show", "print counts and a sample of a dataset");
  show->add_option("--tokens", sample_tokens, "tokens of each split to print")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  const CLI::App* verify = add("verify", "check every byte of a dataset");

  return command_line.Run(argc, argv, [&] {
    if (prepare->parsed()) {
      return wavefield::RunPrepare(flags.options, flags.output, flags.json_progress);
    }
    if (encode->parsed()) {
      return wavefield::RunEncode(dataset, text ? *text : wavefield::ReadStdin());
    }
    if (decode->parsed()) {
      return wavefield::RunDecode(dataset, text ? *text : wavefield::ReadStdin());
    }
    if (verify->parsed()) return wavefield::RunVerify(dataset);
    return wavefield::RunShow(dataset, sample_tokens);
  });
}
