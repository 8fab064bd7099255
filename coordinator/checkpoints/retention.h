#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "wavefield/v1/checkpoint_service.pb.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield::coordinator {

// What becomes of one checkpoint, and why.
struct RetentionDecision {
  // Why nobody may remove it: "pinned", "jobs/x starts from it"; empty: it may be removed.
  std::string needed;
  // Why it may be removed by its name alone; empty: like others, too.
  std::string kept_unless_named;
  // The rule that keeps it as long as nobody removes it: "one of the newest 3"; empty: none does.
  std::string rule;

  bool kept() const { return !needed.empty() || !kept_unless_named.empty() || !rule.empty(); }
  // For people.
  std::string reason() const;
};

// How far the newest checkpoint of a job that is not known to be damaged is kept whatever the
// policy says.
enum class NewestRule {
  kNeeded,           // the job lives, or can be resumed from it
  kKeptUnlessNamed,  // it can be removed by name alone: the job has used up its budget
};

// Decides about all checkpoints of one job, newest first, by its policy. `life_begin`: when the job
// was created. `needs`: directory → who needs the checkpoint in it, for people. A pure function.
std::vector<RetentionDecision> DecideRetention(
    const wavefield::v1::CheckpointPolicy& policy, absl::Time life_begin, NewestRule newest,
    const std::vector<wavefield::v1::Checkpoint>& checkpoints,
    const std::map<std::string, std::string>& needs);

}  // namespace wavefield::coordinator
