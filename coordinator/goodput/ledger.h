#pragma once

#include "absl/time/time.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// Where the time went for which a job held slots: Job.goodput, in whole milliseconds of slots.
//
// A slot is held from the start of an attempt until its task has ended. A task's `held_ms` is
// counted at each call, as far as the coordinator's clock went forward since the call before;
// `accounted_ms` of it are in a bucket. Rank 0's reports say how long the time since its report
// before was, by its own clock, and what it was for: so much is accounted for of each slot of the
// attempt, at most what it held. Reports may thus come late, all at once or not at all. What is
// left when the attempt is over goes into one bucket, and so does what its slots are held beyond.
//
// Hence Job.goodput is at any time the sum of what was accounted for of all tasks there ever were,
// and, once the job holds no slot, of what they held. A record that an older version wrote counts
// from the first call. All functions are pure.

// How an attempt ended, as far as it matters for the time since its last report.
enum class AttemptEnd {
  kClean,    // all ranks exited with code 0: idle
  kStopped,  // it was asked to stop: idle, or a hang
  kFailed,   // recovery, or a hang
  kLost,     // with its worker: recovery
};

// Counts what is held until `now`. To be called before a task's `ended` is changed.
void CountHeld(JobRecord& record, absl::Time now);

// The attempt's tasks are in the record.
void CountAttemptStart(JobRecord& record, absl::Time now);

// What rank 0 of the attempt under way reports. Trainers of older versions do not say when: the
// whole time without report is then taken for what the report is about.
void CountReport(JobRecord& record, const wavefield::v1::TrainerEvent& report, absl::Time now);

// The attempt under way is over; its state and epoch are still the record's. REQUIRES CountHeld().
void CountAttemptEnd(JobRecord& record, AttemptEnd end);

// Job.goodput for people who watch: with the time since the last report where rank 0 has been
// silent for too long, or has not begun to train.
wavefield::v1::Goodput GoodputAt(JobRecord record, absl::Time now);

}  // namespace wavefield::coordinator
