#pragma once

#include <string>

#include "absl/time/time.h"
#include "coordinator/store/records.pb.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// Why an attempt ended badly, as a typed diagnosis with advice: from what is known of the rank, its
// process's end and what the program said before. Pure functions; the record is as it was before it
// took note of the end.

// A rank's process ended with an error. The culprit need not be that rank: one that ends because a
// peer is gone is passed over for a rank that has said what went wrong with itself.
wavefield::v1::RootCause CauseOfExit(const JobRecord& record, const TaskRecord& task,
                                     const wavefield::v1::TaskExited& exited, absl::Time now);
// `replaced`: another process has taken the worker's name; else its lease ran out.
wavefield::v1::RootCause CauseOfLostWorker(const JobRecord& record, const TaskRecord& task,
                                           bool replaced, const std::string& why, absl::Time now);
wavefield::v1::RootCause CauseOfVanishedTask(const JobRecord& record, const TaskRecord& task,
                                             absl::Time now);
// All ranks ended with code 0, and none said that training is done.
wavefield::v1::RootCause CauseOfEarlyEnd(const JobRecord& record, absl::Time now);
wavefield::v1::RootCause CauseOfDependency(const JobRecord& record, const std::string& message,
                                           absl::Time now);
wavefield::v1::RootCause CauseOfNotStopping(const JobRecord& record, const std::string& why,
                                            absl::Time now);

// Keeps the last 20.
void AddRootCause(JobRecord& record, wavefield::v1::RootCause cause);

// A rank of an attempt that is over has ended after it: if it was that rank which the others fell
// with, its end is the cause, in place of theirs; if it is the cause already, how it ended is
// added.
void CompleteRootCause(JobRecord& record, const wavefield::v1::RootCause& late);

// One line: "rank 1 on workers/a was ended by signal 9 (Killed) in attempt 2, after step 40".
std::string DescribeRootCause(const wavefield::v1::RootCause& cause);

}  // namespace wavefield::coordinator
