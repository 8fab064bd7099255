#include <filesystem>
#include <optional>
#include <string>

#include "core/base/command_line.h"
#include "core/data/tokenizer/commands.h"
#include "core/data/tokenizer/import_flags.h"
#include "core/data/tokenizer/prepare_flags.h"

int main(int argc, char** argv) {
  wavefield::CommandLine command_line("wavefield-tokenizer",
                                      "Makes datasets of tokens from text, and looks into them.");
  CLI::App& app = command_line.app();
  app.require_subcommand(1);

  wavefield::PrepareFlags flags;
  wavefield::ImportFlags import_flags;
  wavefield::InspectionOptions inspection;
  std::filesystem::path dataset;
  std::optional<std::string> text;
  int sample_tokens = 64;
  const auto add = [&](const char* name, const char* option, const char* description) {
    CLI::App* command = app.add_subcommand(name, description);
    command->add_option(option, dataset, "a dataset's directory")->required();
    return command;
  };
  const CLI::App* prepare = AddPrepareCommand(app, flags);
  const CLI::App* import = AddImportCommand(app, import_flags);
  CLI::App* encode = add("encode", "--dataset", "text to token ids");
  encode->add_option("--text", text, "the text (default: stdin)");
  CLI::App* decode = add("decode", "--dataset", "token ids to text");
  decode->add_option("--ids", text, "the ids (default: stdin)");
  CLI::App* show = add("show", "directory", "print counts and a sample of a dataset");
  show->add_option("--tokens", sample_tokens, "tokens of each split to print")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  CLI::App* inspect = add("inspect", "directory", "print samples, frequencies and lengths as JSON");
  inspect->add_option("--samples", inspection.samples)->check(CLI::Range(0, 100));
  inspect->add_option("--sample-tokens", inspection.sample_tokens)->check(CLI::Range(1, 1024));
  inspect->add_option("--frequent-tokens", inspection.frequent_tokens)->check(CLI::Range(0, 1000));
  const CLI::App* verify = add("verify", "directory", "check every byte of a dataset");

  return command_line.Run(argc, argv, [&] {
    if (prepare->parsed()) {
      return wavefield::RunPrepare(flags.options, flags.output, flags.json_progress);
    }
    if (import->parsed()) {
      return wavefield::RunImport(import_flags.options, import_flags.output,
                                  import_flags.json_progress);
    }
    if (inspect->parsed()) return wavefield::RunInspect(dataset, inspection);
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
