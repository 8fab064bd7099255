#pragma once

#include <signal.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/subprocess.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

inline std::string FakeTrainerProgram() { return ProgramDirectory() / "fake_trainer"; }

// Rank `rank` of job "a", which behaves as fake_trainer.cc says.
inline v1::Assignment FakeTask(int64_t epoch, int rank, const std::string& behaviour, int slot = 0,
                               int steps = 3) {
  v1::Assignment assignment;
  assignment.set_task_id(absl::StrCat("a/", epoch, "/", rank));
  assignment.set_slot(slot);
  v1::TrainTask& train = *assignment.mutable_train();
  train.set_job("jobs/a");
  train.set_epoch(epoch);
  train.set_rank(rank);
  train.set_world_size(2);
  (*train.mutable_spec()->mutable_labels())["behaviour"] = behaviour;
  (*train.mutable_spec()->mutable_labels())["steps"] = std::to_string(steps);
  return assignment;
}

// The same, which prints `lines` lines and then ends as fake_trainer.cc says of "print".
inline v1::Assignment PrintingTask(int64_t epoch, int rank, int lines, const std::string& end) {
  v1::Assignment assignment = FakeTask(epoch, rank, "print", rank);
  auto& labels = *assignment.mutable_train()->mutable_spec()->mutable_labels();
  labels["lines"] = std::to_string(lines);
  labels["end"] = end;
  return assignment;
}

// True while the process exists and has not ended (a zombie has).
inline bool IsAlive(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const size_t state = text.str().rfind(") ");
  return state != std::string::npos && text.str()[state + 2] != 'Z';
}

// Waits for that; false after five seconds.
inline bool WaitUntilGone(pid_t pid) {
  for (int i = 0; i < 1000; ++i) {
    if (!IsAlive(pid)) return true;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return false;
}

}  // namespace wavefield
