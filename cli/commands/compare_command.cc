#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <set>

#include "cli/commands.h"
#include "cli/comparison.h"
#include "cli/exit_code.h"
#include "cli/real_range.h"
#include "cli/resource_names.h"
#include "cli/views/comparison_view.h"
#include "cli/views/model_summary.h"
#include "core/base/status_macros.h"
#include "core/base/suggest.h"
#include "core/model/accounting.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr int kMaxJobs = 32;
// Of every job one page is held at a time.
constexpr int kPageSize = 1000;
constexpr int kMaxSuggestedFrom = 1000;

struct Flags {
  std::vector<std::string> jobs;
  double loss = 0;
  CLI::Option* loss_given = nullptr;
  bool json = false;
};

// The history of one job, page by page.
class HistoryReader {
 public:
  HistoryReader(const Session& session, const v1::Job& job) : session_(session), job_(job) {
    request_.set_parent(job.name());
    request_.set_page_size(kPageSize);
  }

  // The step that Advance() leaves behind; null at the end.
  const v1::StepMetrics* step() const {
    return next_ < page_.steps_size() ? &page_.steps(next_) : nullptr;
  }
  // Fetches the first page, then goes a step on. Evaluations go into `fold` as they are met.
  absl::Status Advance(size_t index, HistoryFold& fold) {
    ++next_;
    while (step() == nullptr && !ended_) {
      WF_ASSIGN_OR_RETURN(page_, session_.Call(&v1::JobService::Stub::ListMetrics, request_));
      next_ = 0;
      request_.set_page_token(page_.next_page_token());
      ended_ = page_.next_page_token().empty();
      const v1::TrainingSpec& training = job_.spec().training();
      for (const v1::EvaluationResult& evaluation : page_.evaluations()) {
        fold.AddEvaluation(index, evaluation,
                           evaluation.step() * training.batch_size() * training.sequence_length());
      }
    }
    return absl::OkStatus();
  }

 private:
  const Session& session_;
  const v1::Job& job_;
  v1::ListMetricsRequest request_;
  v1::ListMetricsResponse page_;
  int next_ = -1;
  bool ended_ = false;
};

// Reads all histories side by side, step by step.
absl::StatusOr<std::vector<HistorySummary>> ReadHistories(const Session& session,
                                                          const std::vector<v1::Job>& jobs,
                                                          const LossTarget& target) {
  HistoryFold fold(jobs.size(), target);
  std::vector<HistoryReader> readers;
  for (const v1::Job& job : jobs) readers.emplace_back(session, job);
  for (size_t i = 0; i < jobs.size(); ++i) WF_RETURN_IF_ERROR(readers[i].Advance(i, fold));
  while (true) {
    int64_t step = std::numeric_limits<int64_t>::max();
    for (const HistoryReader& reader : readers) {
      if (reader.step() != nullptr) step = std::min(step, reader.step()->step());
    }
    if (step == std::numeric_limits<int64_t>::max()) return fold.Summaries();
    for (size_t i = 0; i < jobs.size(); ++i) {
      // A step has a record for every attempt that did it.
      while (readers[i].step() != nullptr && readers[i].step()->step() == step) {
        fold.AddStep(i, *readers[i].step());
        WF_RETURN_IF_ERROR(readers[i].Advance(i, fold));
      }
    }
  }
}

absl::StatusOr<v1::Job> FetchJob(const Session& session, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  absl::StatusOr<v1::Job> job = session.Call(&v1::JobService::Stub::GetJob, request);
  if (!absl::IsNotFound(job.status())) return job;
  v1::ListJobsRequest list;
  list.set_page_size(kMaxSuggestedFrom);
  const auto newest = session.Call(&v1::JobService::Stub::ListJobs, list);
  std::vector<std::string> names;
  if (newest.ok()) {
    for (const v1::Job& known : newest->jobs()) names.push_back(ResourceId(known.name()));
  }
  const std::string nearest = SuggestNearest(ResourceId(name), names);
  return absl::NotFoundError(
      fmt::format("there is no job '{}'; {}", ResourceId(name),
                  nearest.empty() ? "'wavefield jobs' lists them" : nearest));
}

absl::StatusOr<std::vector<v1::Job>> FetchJobs(const Session& session,
                                               const std::vector<std::string>& arguments) {
  std::set<std::string> seen;
  std::vector<v1::Job> jobs;
  for (const std::string& argument : arguments) {
    WF_ASSIGN_OR_RETURN(const std::string name, ParseJobName(argument));
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(
          fmt::format("'{}' is named twice; a job is compared with others", argument));
    }
    WF_ASSIGN_OR_RETURN(jobs.emplace_back(), FetchJob(session, name));
  }
  return jobs;
}

absl::StatusOr<std::optional<v1::Dataset>> FetchDataset(const Session& session,
                                                        const std::string& name) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  absl::StatusOr<v1::Dataset> dataset =
      session.Call(&v1::DatasetService::Stub::GetDataset, request);
  if (absl::IsNotFound(dataset.status())) return std::nullopt;
  WF_RETURN_IF_ERROR(dataset.status());
  return *std::move(dataset);
}

absl::StatusOr<int> Run(const Flags& flags, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, FetchJobs(session, flags.jobs));
  LossTarget target =
      ChooseTarget(jobs, flags.loss_given->count() > 0 ? std::optional(flags.loss) : std::nullopt);
  WF_ASSIGN_OR_RETURN(std::vector<HistorySummary> histories, ReadHistories(session, jobs, target));
  if (!target.loss && !target.held_out) {
    for (const HistorySummary& history : histories) {
      const double last = history.smoothed_loss;
      if (std::isfinite(last)) target.loss = std::max(last, target.loss.value_or(last));
    }
    if (target.loss) {
      WF_ASSIGN_OR_RETURN(histories, ReadHistories(session, jobs, target));
    }
  }

  std::vector<ComparedJob> compared;
  for (size_t i = 0; i < jobs.size(); ++i) {
    ComparedJob& job = compared.emplace_back(ComparedJob{.job = jobs[i], .history = histories[i]});
    WF_ASSIGN_OR_RETURN(job.dataset, FetchDataset(session, jobs[i].spec().dataset()));
    const auto model = ResolveModel(jobs[i].spec().model(), /*tokenizer_vocab_size=*/0);
    if (model.ok()) job.flops_per_token = ModelFlopsPerToken(*model);
  }
  const std::string text = flags.json ? ComparisonJson(compared, target).dump(2) + "\n"
                                      : FormatComparison(compared, target);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitSuccess;
}

}  // namespace

void AddCompareCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "compare", "Show jobs side by side, and what makes their comparison unfair");
  command->add_option("JOB", flags->jobs, "two or more, the first is what the others are held to")
      ->required()
      ->expected(2, kMaxJobs);
  flags->loss_given =
      command
          ->add_option("--loss", flags->loss,
                       "count tokens until this loss (default: the worst that a job ended with)")
          ->check(RealRange(0, 1e6));
  command->add_flag("--json", flags->json, "print JSON");
  context.OnCommand(command, [&context, flags] { return Run(*flags, context.connection); });
}

}  // namespace wavefield
