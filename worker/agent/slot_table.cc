#include "worker/agent/slot_table.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace wavefield {

bool IsValidTaskId(const std::string& task_id) {
  if (task_id.size() > 256) return false;
  const std::vector<std::string> names = absl::StrSplit(task_id, '/');
  return std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
    });
  });
}

void SlotTable::Want(const v1::AssignmentList& list) {
  wanted_.clear();
  for (const v1::Assignment& assignment : list.assignments()) {
    wanted_[assignment.task_id()] = assignment;
  }
  std::erase_if(ended_, [&](const auto& entry) {
    return entry.second <= acknowledged_ && !wanted_.contains(entry.first);
  });
}

SlotActions SlotTable::Next(const Gate& gate) {
  SlotActions actions;
  held_up_ = false;
  for (auto& [task_id, running] : running_) {
    const auto wanted = wanted_.find(task_id);
    if (wanted == wanted_.end()) {
      if (!running.end_sent) actions.end.push_back(task_id);
      running.end_sent = true;
    } else if (wanted->second.stop_requested() && !running.stop_sent) {
      actions.stop.push_back(task_id);
      running.stop_sent = true;
    }
  }
  for (const auto& [task_id, assignment] : wanted_) {
    if (running_.contains(task_id) || ended_.contains(task_id)) continue;
    if (std::string reason = WhyImpossible(assignment); !reason.empty()) {
      actions.refuse.emplace_back(assignment, std::move(reason));
    } else if (!IsFree(assignment.slot())) {
      continue;
    } else if (const absl::Status open = gate(assignment.slot()); absl::IsUnavailable(open)) {
      held_up_ = true;
      continue;
    } else if (!open.ok()) {
      actions.refuse.emplace_back(assignment, std::string(open.message()));
    } else {
      actions.start.push_back(assignment);
      if (assignment.stop_requested()) actions.stop.push_back(task_id);
    }
    running_[task_id] = {assignment.slot(), assignment.stop_requested(), false};
  }
  return actions;
}

std::string SlotTable::WhyImpossible(const v1::Assignment& assignment) const {
  if (!IsValidTaskId(assignment.task_id())) {
    return absl::StrCat("'", assignment.task_id(), "' is not a valid task id");
  }
  if (assignment.slot() < 0 || assignment.slot() >= slots_) {
    return absl::StrCat("slot ", assignment.slot(), " does not exist: this worker has slots 0 to ",
                        slots_ - 1);
  }
  if (assignment.task_case() == v1::Assignment::TASK_NOT_SET) {
    return "a task of a kind that this worker does not know";
  }
  if (assignment.has_train() && !IsValidTaskId(assignment.train().job())) {
    return absl::StrCat("'", assignment.train().job(), "' is not a valid name of a job");
  }
  return "";
}

bool SlotTable::IsFree(int slot) const {
  return std::none_of(running_.begin(), running_.end(),
                      [&](const auto& entry) { return entry.second.slot == slot; });
}

void SlotTable::Ended(const std::string& task_id, int64_t exit_sequence) {
  running_.erase(task_id);
  ended_[task_id] = exit_sequence;
}

void SlotTable::Acknowledge(int64_t sequence) { acknowledged_ = std::max(acknowledged_, sequence); }

std::vector<std::string> SlotTable::Unacknowledged() const {
  std::vector<std::string> ids;
  for (const auto& [task_id, sequence] : ended_) {
    if (sequence > acknowledged_) ids.push_back(task_id);
  }
  return ids;
}

}  // namespace wavefield
