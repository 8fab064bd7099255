#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield {

// What is to be done next so that what runs becomes what is wanted.
struct SlotActions {
  std::vector<v1::Assignment> start;
  std::vector<std::string> stop;                               // asked to end in an orderly way
  std::vector<std::string> end;                                // no longer wanted
  std::vector<std::pair<v1::Assignment, std::string>> refuse;  // can never run here, and why
};

// Which task is in which slot, what is wanted there, and which tasks are over: pure bookkeeping, no
// process is touched. A task is started at most once; one that waits for its slot is started when
// the slot is free. Not thread-safe.
class SlotTable {
 public:
  explicit SlotTable(int slots) : slots_(slots) {}

  // Replaces what is wanted by what the coordinator says.
  void Want(const v1::AssignmentList& list);
  // Nothing is wanted until the coordinator says so again.
  void WantNothing() { wanted_.clear(); }

  // Whether a task may start in a slot that has no other. OK: it starts; UNAVAILABLE: it waits and
  // is asked about again; another error: it is refused for that reason.
  using Gate = std::function<absl::Status(int slot)>;

  // Each action is given once: the caller carries it out. A task in `start` counts as running, one
  // in `refuse` too: report the end of either with Ended().
  SlotActions Next(const Gate& gate);
  // Some task waits for its slot's gate.
  bool HeldUp() const { return held_up_; }

  // `exit_sequence`: of the event that reports it.
  void Ended(const std::string& task_id, int64_t exit_sequence);

  // Ends up to this sequence are known to the coordinator.
  void Acknowledge(int64_t sequence);

  // Tasks that are over, which the coordinator does not know yet.
  std::vector<std::string> Unacknowledged() const;

 private:
  struct Running {
    int slot = 0;
    bool stop_sent = false;
    bool end_sent = false;
  };

  std::string WhyImpossible(const v1::Assignment& assignment) const;
  bool IsFree(int slot) const;

  int slots_;
  bool held_up_ = false;
  int64_t acknowledged_ = 0;
  std::map<std::string, v1::Assignment> wanted_;
  std::map<std::string, Running> running_;
  // With the sequences of their ends; until acknowledged and then absent from a list.
  std::map<std::string, int64_t> ended_;
};

// True if `task_id` is names of [a-zA-Z0-9._-] separated by '/', none beginning with '.', at most
// 256 characters: safe as a relative path.
bool IsValidTaskId(const std::string& task_id);

}  // namespace wavefield
