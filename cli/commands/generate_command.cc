#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/inference.h"
#include "cli/input_text.h"
#include "cli/real_range.h"
#include "cli/resource_names.h"
#include "cli/views/escaped_text.h"
#include "cli/views/format.h"
#include "cli/views/terminal.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxPromptBytes = 4 << 20;

struct Flags {
  std::string target;
  std::string prompt;
  int max_tokens = 128;
  double temperature = 0.8;
  uint64_t seed = 1;
  std::optional<int> threads;
  bool json = false;
};

absl::Status GenerateFromDirectory(const Flags& flags, const std::string& prompt,
                                   const OnInferenceOutput& on_output) {
  std::vector<std::string> arguments = {"generate",      flags.target,
                                        "--max-tokens",  std::to_string(flags.max_tokens),
                                        "--temperature", fmt::format("{}", flags.temperature),
                                        "--seed",        std::to_string(flags.seed)};
  if (flags.threads)
    arguments.insert(arguments.end(), {"--threads", std::to_string(*flags.threads)});
  return InferLocally(arguments, {{"prompt", prompt}}, on_output);
}

absl::Status GenerateFromJob(const Flags& flags, const std::string& prompt,
                             const ConnectionFlags& connection,
                             const OnInferenceOutput& on_output) {
  v1::GenerateRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_checkpoint(), ParseCheckpointName(flags.target));
  request.set_prompt(prompt);
  request.set_max_tokens(flags.max_tokens);
  request.set_temperature(flags.temperature);
  request.set_seed(flags.seed);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return GenerateOnCluster(session, request, on_output);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const std::string prompt, ReadTextArgument(flags.prompt, kMaxPromptBytes));
  const bool terminal = IsTerminal(stdout);
  std::string text;
  v1::GenerationSummary summary;
  const auto on_output = [&](const v1::InferenceOutput& output) {
    if (output.has_summary()) summary = output.summary();
    text += output.text();
    if (flags.json) return;
    const std::string shown = terminal ? EscapedLines(output.text()) : output.text();
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
  };
  std::error_code error;
  const absl::Status status = std::filesystem::is_directory(flags.target, error)
                                  ? GenerateFromDirectory(flags, prompt, on_output)
                                  : GenerateFromJob(flags, prompt, connection, on_output);
  if (!flags.json && !text.empty()) std::printf("\n");
  WF_RETURN_IF_ERROR(status);
  if (flags.json) {
    const nlohmann::json json = {{"text", text},
                                 {"summary", nlohmann::json::parse(ToJson(summary))}};
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::fflush(stdout);
    std::fprintf(stderr, "%s tokens at %.2f ms each, after a prompt of %s tokens (%s)\n",
                 FormatInteger(summary.generated_tokens()).c_str(),
                 1e3 * summary.seconds_per_token(), FormatInteger(summary.prompt_tokens()).c_str(),
                 FormatDuration(summary.prompt_seconds()).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddGenerateCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("generate", "Let a checkpoint continue a text");
  command
      ->add_option(
          "CHECKPOINT", flags->target,
          "JOB (its newest), JOB@STEP, or a downloaded directory, which is run on this host")
      ->required();
  command
      ->add_option("--prompt", flags->prompt, "the text; '-' reads standard input, '@FILE' a file")
      ->required();
  command->add_option("--max-tokens", flags->max_tokens, "tokens to write")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--temperature", flags->temperature, "0 = always the most likely token")
      ->capture_default_str()
      ->check(RealRange(0, 100));
  command->add_option("--seed", flags->seed, "the same seed, the same text")->capture_default_str();
  command->add_option("--threads", flags->threads, "for a directory: threads to use")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", flags->json, "print text and summary as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
