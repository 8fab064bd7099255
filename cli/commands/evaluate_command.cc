#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/inference.h"
#include "cli/input_text.h"
#include "cli/resource_names.h"
#include "cli/views/job_view.h"
#include "cli/views/progress_bar.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxIdsFileBytes = 16 << 20;
constexpr size_t kMaxIds = 1000000;

struct Flags {
  std::string target;
  std::string dataset;
  int64_t max_tokens = 0;
  std::string token_ids_file;
  std::optional<int> threads;
  bool json = false;
};

absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& file) {
  const auto fail = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("--token-ids {}: {}", file, what));
  };
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFileOrInput(file, kMaxIdsFileBytes));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return fail("expected a JSON array of token ids");
  if (json.size() < 2 || json.size() > kMaxIds) {
    return fail(fmt::format("{} ids; allowed: 2 to {}", json.size(), kMaxIds));
  }
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : json) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
      return fail(
          fmt::format("element {} is {}, not a token id", ids.size(), id.dump().substr(0, 40)));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

absl::Status EvaluateDirectory(const Flags& flags, const ConnectionFlags& connection,
                               const OnInferenceOutput& on_output) {
  std::vector<std::string> arguments = {"evaluate", flags.target};
  if (flags.token_ids_file.empty()) {
    if (flags.dataset.empty()) return absl::InvalidArgumentError("give --dataset or --token-ids");
    WF_ASSIGN_OR_RETURN(const std::string directory,
                        LocalDatasetDirectory(flags.dataset, connection));
    arguments.insert(arguments.end(), {"--dataset", directory});
  } else {
    WF_RETURN_IF_ERROR(ReadTokenIds(flags.token_ids_file).status());
    arguments.insert(arguments.end(), {"--token-ids", flags.token_ids_file});
  }
  if (flags.max_tokens > 0)
    arguments.insert(arguments.end(), {"--max-tokens", std::to_string(flags.max_tokens)});
  if (flags.threads)
    arguments.insert(arguments.end(), {"--threads", std::to_string(*flags.threads)});
  return InferLocally(arguments, {}, on_output);
}

absl::Status EvaluateJob(const Flags& flags, const ConnectionFlags& connection,
                         const OnInferenceOutput& on_output) {
  v1::EvaluateRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_checkpoint(), ParseCheckpointName(flags.target));
  if (!flags.dataset.empty()) {
    WF_ASSIGN_OR_RETURN(*request.mutable_dataset(), ParseDatasetName(flags.dataset));
  }
  request.set_max_tokens(flags.max_tokens);
  if (!flags.token_ids_file.empty()) {
    WF_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadTokenIds(flags.token_ids_file));
    request.mutable_token_ids()->Assign(ids.begin(), ids.end());
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return EvaluateOnCluster(session, request, on_output);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  std::optional<v1::EvaluationResult> result;
  ProgressBar bar(stderr);
  const auto on_output = [&](const v1::InferenceOutput& output) {
    if (!output.has_evaluation()) return;
    bar.Draw(-1, FormatEvaluation(output.evaluation()));
    if (output.done()) result = output.evaluation();
  };
  std::error_code error;
  const bool local = std::filesystem::is_directory(flags.target, error);
  const absl::Status status = local ? EvaluateDirectory(flags, connection, on_output)
                                    : EvaluateJob(flags, connection, on_output);
  bar.Clear();
  WF_RETURN_IF_ERROR(status);
  if (!result) return absl::InternalError("the evaluation ended without a result");
  const std::string text =
      flags.json ? ToJson(*result, true) : "evaluation at " + FormatEvaluation(*result) + "\n";
  std::printf("%s", text.c_str());
  return kExitSuccess;
}

}  // namespace

void AddEvaluateCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand("evaluate", "Evaluate a checkpoint on held-out text");
  command
      ->add_option(
          "CHECKPOINT", flags->target,
          "JOB (its newest), JOB@STEP, or a downloaded directory, which is evaluated on this host")
      ->required();
  command->add_option(
      "--dataset", flags->dataset,
      "whose held-out text; default: the job's own. For a directory also a dataset's directory");
  command->add_option("--max-tokens", flags->max_tokens, "how many; default: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50));
  command->add_option("--token-ids", flags->token_ids_file,
                      "evaluate one window of ids in place of a dataset: a file with a JSON array");
  command->add_option("--threads", flags->threads, "for a directory: threads to use")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", flags->json, "print an EvaluationResult as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
