#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/inference.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

struct Flags {
  std::string target;
  std::string dataset;
  int windows = 4;
  int sequence_length = 0;
  int changes = 8;
  uint64_t seed = 1;
  std::optional<int> threads;
  bool json = false;
};

absl::Status AuditDirectory(const Flags& flags, const ConnectionFlags& connection,
                            const OnInferenceOutput& on_output) {
  std::vector<std::string> arguments = {"audit",
                                        flags.target,
                                        "--windows",
                                        std::to_string(flags.windows),
                                        "--sequence-length",
                                        std::to_string(flags.sequence_length),
                                        "--changes",
                                        std::to_string(flags.changes),
                                        "--seed",
                                        std::to_string(flags.seed)};
  if (!flags.dataset.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string directory,
                        LocalDatasetDirectory(flags.dataset, connection));
    arguments.insert(arguments.end(), {"--dataset", directory});
  }
  if (flags.threads)
    arguments.insert(arguments.end(), {"--threads", std::to_string(*flags.threads)});
  return InferLocally(arguments, {}, on_output);
}

absl::Status AuditJob(const Flags& flags, const ConnectionFlags& connection,
                      const OnInferenceOutput& on_output) {
  v1::AuditCausalityRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_checkpoint(), ParseCheckpointName(flags.target));
  if (!flags.dataset.empty()) {
    WF_ASSIGN_OR_RETURN(*request.mutable_dataset(), ParseDatasetName(flags.dataset));
  }
  request.set_windows(flags.windows);
  request.set_sequence_length(flags.sequence_length);
  request.set_changes_per_window(flags.changes);
  request.set_seed(flags.seed);
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  return AuditOnCluster(session, request, on_output);
}

std::string Difference(double difference) {
  return std::isnan(difference) ? "what is not a number" : FormatSignificant(difference, 3);
}

bool Exceeds(const v1::CausalityFinding& finding, double allowed) {
  return !(finding.difference() <= allowed);
}

std::string Leak(const v1::CausalityFinding& finding, double allowed) {
  if (finding.difference() == 0) return "no earlier logit moved by one bit";
  return fmt::format(
      "an earlier logit moved by {} (allowed: {}), window {}: after token {}, of id {}, when token "
      "{} was changed",
      Difference(finding.difference()), FormatSignificant(allowed, 3), finding.window(),
      finding.token(), finding.vocabulary_id(), finding.changed_token());
}

std::string Agreement(const v1::CausalityFinding& finding, double allowed) {
  if (finding.difference() == 0) return "training and generation are equal to the bit";
  return fmt::format(
      "training and generation differ by at most {} (allowed: {}), window {}: after token {}, of "
      "id "
      "{}",
      Difference(finding.difference()), FormatSignificant(allowed, 3), finding.window(),
      finding.token(), finding.vocabulary_id());
}

std::string Verdict(const v1::CausalityReport& report) {
  if (report.passed()) {
    const char* rounding = report.training_leak().difference() > 0 ? " but by rounding" : "";
    return fmt::format(
        "PASS: no logit depends on a later token{}, and generation computes what training does\n",
        rounding);
  }
  std::string verdict;
  if (Exceeds(report.training_leak(), report.allowed_leak())) {
    verdict +=
        "FAIL: in training, logits depend on later tokens: the model sees what it is to predict, "
        "and its losses and perplexities mean nothing\n";
  }
  if (Exceeds(report.generation_leak(), report.allowed_leak())) {
    verdict +=
        "FAIL: in generation, a repeated prefix gives other logits: the state is not a function of "
        "the tokens before\n";
  }
  if (Exceeds(report.disagreement(), report.allowed_disagreement())) {
    verdict +=
        "FAIL: generation computes another model than training: losses of the one say nothing "
        "about the other\n";
  }
  return verdict;
}

std::string FormatReport(const std::string& target, const v1::CausalityReport& report) {
  const std::string propagation =
      report.propagation().empty() ? "" : ", propagation " + report.propagation();
  return fmt::format(
      "{} at step {}: {} windows of {} tokens{}, {} changed tokens, logits up to {}{}\n"
      "training    {}\n"
      "generation  {}\n"
      "agreement   {}\n{}",
      target, report.step(), report.windows(), report.tokens(),
      report.random_ids() ? " drawn by chance" : " of held-out text", report.changes(),
      FormatSignificant(report.largest_logit(), 3), propagation,
      Leak(report.training_leak(), report.allowed_leak()),
      Leak(report.generation_leak(), report.allowed_leak()),
      Agreement(report.disagreement(), report.allowed_disagreement()), Verdict(report));
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  std::optional<v1::CausalityReport> report;
  const auto on_output = [&](const v1::InferenceOutput& output) {
    if (output.has_causality()) report = output.causality();
  };
  std::error_code error;
  if (std::filesystem::is_directory(flags.target, error)) {
    if (flags.dataset.empty()) {
      std::fprintf(stderr,
                   "No --dataset is given: the windows are ids drawn by chance, not text.\n");
    }
    WF_RETURN_IF_ERROR(AuditDirectory(flags, connection, on_output));
  } else {
    WF_RETURN_IF_ERROR(AuditJob(flags, connection, on_output));
  }
  if (!report) return absl::InternalError("the audit ended without a report");
  const std::string text = flags.json ? ToJson(*report, true) : FormatReport(flags.target, *report);
  std::printf("%s", text.c_str());
  return report->passed() ? kExitSuccess : kExitAuditFailed;
}

}  // namespace

void AddAuditCausalityCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "causality",
      "Change tokens of held-out text and look for earlier logits that move, in training and in "
      "generation; exit code 6 if one does or if the two disagree");
  command
      ->add_option("CHECKPOINT", flags->target,
                   "JOB (its newest), JOB@STEP, or a downloaded directory, which is audited on "
                   "this host")
      ->required();
  command->add_option("--dataset", flags->dataset,
                      "whose held-out text; default: the job's own; for a directory ids drawn by "
                      "chance. For a directory also a dataset's directory");
  command->add_option("--windows", flags->windows, "how many")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command
      ->add_option("--sequence-length", flags->sequence_length,
                   "tokens of a window; default: as trained, at most 512")
      ->check(CLI::Range(2, 4096));
  command->add_option("--changes", flags->changes, "tokens of each window that are changed")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "of which tokens are changed, and to what")
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "for a directory: threads to use")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", flags->json, "print a CausalityReport as JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
