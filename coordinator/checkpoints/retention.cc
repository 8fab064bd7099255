#include "coordinator/checkpoints/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Checkpoint;
using wavefield::v1::CheckpointPolicy;

class Rules {
 public:
  Rules(const CheckpointPolicy& policy, absl::Time life_begin,
        const std::vector<Checkpoint>& checkpoints)
      : policy_(policy),
        life_begin_(life_begin),
        checkpoints_(checkpoints),
        rules_(checkpoints.size()) {}

  // One rule for each checkpoint, or none.
  std::vector<std::string> Apply() {
    KeepNewest();
    KeepSteps();
    KeepHours();
    KeepBest();
    return std::move(rules_);
  }

 private:
  void Keep(size_t i, const std::string& rule) {
    if (rules_[i].empty()) rules_[i] = rule;
  }

  void KeepNewest() {
    const size_t count = static_cast<size_t>(std::max(policy_.keep_last(), 1));
    const std::string rule = count == 1 ? "the newest" : fmt::format("one of the newest {}", count);
    for (size_t i = 0; i < std::min(count, rules_.size()); ++i) Keep(i, rule);
  }

  void KeepSteps() {
    const int64_t every = policy_.keep_every_steps();
    if (every <= 0) return;
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (checkpoints_[i].step() % every == 0) Keep(i, fmt::format("step divisible by {}", every));
    }
  }

  void KeepHours() {
    const double hours = policy_.keep_every_hours();
    if (!(hours > 0)) return;
    double last = -1;
    for (size_t i = rules_.size(); i-- > 0;) {  // oldest first
      const absl::Duration age = FromTimestamp(checkpoints_[i].create_time()) - life_begin_;
      const double period = std::floor(std::max(absl::ToDoubleHours(age), 0.0) / hours);
      if (period <= last) continue;
      last = period;
      Keep(i, hours == 1
                  ? fmt::format("first of hour {}", period + 1)
                  : fmt::format("first of hours {} to {}", period * hours, (period + 1) * hours));
    }
  }

  void KeepBest() {
    std::vector<size_t> best;  // oldest first: of equal ones the first stays
    for (size_t i = rules_.size(); i-- > 0;) {
      const Checkpoint& checkpoint = checkpoints_[i];
      if (checkpoint.evaluated() && std::isfinite(checkpoint.evaluation_loss()) &&
          checkpoint.damage().empty()) {
        best.push_back(i);
      }
    }
    std::stable_sort(best.begin(), best.end(), [&](size_t a, size_t b) {
      return checkpoints_[a].evaluation_loss() < checkpoints_[b].evaluation_loss();
    });
    const size_t count = static_cast<size_t>(std::max(policy_.keep_best(), 0));
    const std::string rule = count == 1
                                 ? "the best by evaluation loss"
                                 : fmt::format("one of the {} best by evaluation loss", count);
    for (size_t i = 0; i < std::min(count, best.size()); ++i) Keep(best[i], rule);
  }

  const CheckpointPolicy& policy_;
  const absl::Time life_begin_;
  const std::vector<Checkpoint>& checkpoints_;
  std::vector<std::string> rules_;
};

}  // namespace

std::string RetentionDecision::reason() const {
  if (!needed.empty()) return needed;
  if (!kept_unless_named.empty()) return kept_unless_named;
  return rule.empty() ? "no rule keeps it" : rule;
}

std::vector<RetentionDecision> DecideRetention(const CheckpointPolicy& policy,
                                               absl::Time life_begin, NewestRule newest,
                                               const std::vector<Checkpoint>& checkpoints,
                                               const std::map<std::string, std::string>& needs) {
  std::vector<std::string> rules = Rules(policy, life_begin, checkpoints).Apply();
  std::vector<RetentionDecision> decisions(checkpoints.size());
  bool newest_seen = false;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    const Checkpoint& checkpoint = checkpoints[i];
    RetentionDecision& decision = decisions[i];
    decision.rule = std::move(rules[i]);
    const bool is_newest = !newest_seen && checkpoint.damage().empty();
    newest_seen = newest_seen || is_newest;
    if (is_newest && newest == NewestRule::kKeptUnlessNamed) {
      decision.kept_unless_named = "the newest verified one of its job";
    }
    if (checkpoint.pinned()) {
      decision.needed = "pinned";
    } else if (const auto need = needs.find(checkpoint.directory()); need != needs.end()) {
      decision.needed = need->second;
    } else if (is_newest && newest == NewestRule::kNeeded) {
      decision.needed = "the newest verified one of a job that can be resumed";
    }
  }
  return decisions;
}

}  // namespace wavefield::coordinator
