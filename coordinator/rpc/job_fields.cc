#include "coordinator/rpc/job_fields.h"

#include "coordinator/goodput/ledger.h"
#include "coordinator/jobs/names.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/metrics/label_values.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Job;

constexpr size_t kMaxJobsBytes = 4 << 20;
constexpr char kState[] = "JOB_STATE_";
constexpr char kReason[] = "JOB_REASON_";
constexpr char kLabels[] = "labels.";

// The names of an enum's values, without their prefix and the first, which says nothing.
std::vector<std::string> Names(const google::protobuf::EnumDescriptor& type,
                               const std::string& prefix) {
  std::vector<std::string> names;
  for (int i = 1; i < type.value_count(); ++i) {
    names.push_back(type.value(i)->name().substr(prefix.size()));
  }
  return names;
}

const std::vector<FilterField>& Fields() {
  using Kind = FilterField::Kind;
  static const std::vector<FilterField> fields = {
      {"state", Kind::kEnum, Names(*wavefield::v1::JobState_descriptor(), kState)},
      {"reason", Kind::kEnum, Names(*wavefield::v1::JobReason_descriptor(), kReason)},
      {"name", Kind::kText},
      {"priority", Kind::kNumber},
      {"dataset", Kind::kText},
      {"preset", Kind::kText},
      {"device", Kind::kText},
      {std::string(kLabels) + "*", Kind::kText},
      {"create_time", Kind::kTime},
      {"end_time", Kind::kTime},
      {"step", Kind::kNumber},
      {"loss", Kind::kNumber},
      {"evaluation_loss", Kind::kNumber},
      {"restarts", Kind::kNumber}};
  return fields;
}

// Of a value that this version has no name for, nothing.
FilterValue ShortNameOf(const std::string& name, const std::string& prefix) {
  if (name.empty()) return {};
  return name.substr(prefix.size());
}

FilterValue ValueOf(const Job& job, const std::string& field) {
  if (field == "state") return ShortNameOf(JobState_Name(job.state()), kState);
  if (field == "reason") {
    if (job.reason() == wavefield::v1::JOB_REASON_UNSPECIFIED) return {};
    return ShortNameOf(JobReason_Name(job.reason()), kReason);
  }
  if (field == "name") return IdIn(job.name());
  if (field == "priority") return static_cast<double>(job.spec().priority());
  if (field == "dataset") return IdIn(job.spec().dataset());
  if (field == "preset") return job.spec().model().preset();
  if (field == "device") return job.spec().resources().device();
  if (field == "create_time") return FromTimestamp(job.create_time());
  if (field == "restarts") return static_cast<double>(job.restarts());
  if (field == "end_time") {
    return job.has_end_time() ? FilterValue(FromTimestamp(job.end_time())) : FilterValue();
  }
  if (field == "evaluation_loss") {
    return job.has_last_evaluation() ? FilterValue(job.last_evaluation().loss()) : FilterValue();
  }
  if (field == "step" || field == "loss") {
    if (!job.has_last_step()) return {};
    return field == "step" ? static_cast<double>(job.last_step().step()) : job.last_step().loss();
  }
  const auto label = job.spec().labels().find(field.substr(std::string(kLabels).size()));
  return label == job.spec().labels().end() ? FilterValue() : FilterValue(label->second);
}

}  // namespace

Job Shown(JobRecord record, absl::Time now) {
  Job job = record.job();
  *job.mutable_goodput() = GoodputAt(std::move(record), now);
  return job;
}

void AddJobs(const std::vector<JobRecord>& records, absl::Time now,
             google::protobuf::RepeatedPtrField<Job>& jobs) {
  size_t bytes = 0;
  for (const JobRecord& record : records) {
    const Job& job = record.job();
    bytes += job.ByteSizeLong();
    Job& shown = *jobs.Add();
    if (bytes <= kMaxJobsBytes) {
      shown = Shown(record, now);
    } else {
      shown.set_name(job.name());
      shown.set_uid(job.uid());
      shown.set_state(job.state());
      shown.set_reason(job.reason());
    }
  }
}

absl::StatusOr<Filter> ParseJobFilter(const std::string& text) {
  return Filter::Parse(text, Fields());
}

FilterLookup LookUpIn(const Job& job) {
  return [&job](const std::string& field) { return ValueOf(job, field); };
}

const std::vector<std::string>& JobOrderFields() {
  static const std::vector<std::string> fields = {
      "create_time", "end_time", "name", "priority", "step", "loss", "evaluation_loss"};
  return fields;
}

wavefield::v1::JobState StateAskedFor(const Filter& filter) {
  wavefield::v1::JobState state = wavefield::v1::JOB_STATE_UNSPECIFIED;
  JobState_Parse(kState + filter.EqualTo("state").value_or(""), &state);
  return state;
}

}  // namespace wavefield::coordinator
