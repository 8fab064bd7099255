#include "worker/trainer/step_agreement.h"

#include <algorithm>
#include <span>
#include <vector>

#include "core/base/status_macros.h"

namespace wavefield {

absl::StatusOr<StepAgreement> Agree(const StepShare& mine, Communicator& communicator) {
  const PhaseSeconds& phases = mine.phases;
  std::vector<double> v = {
      mine.sums.loss, static_cast<double>(mine.sums.tokens), static_cast<double>(mine.sums.correct),
      phases.data, phases.forward, phases.backward, phases.communicate, phases.optimize,
      phases.checkpoint, mine.stop ? 1.0 : 0.0, mine.budget ? 1.0 : 0.0, mine.save_due ? 1.0 : 0.0,
      mine.save.busy ? 1.0 : 0.0, mine.save.failed ? 1.0 : 0.0,
      // Halves of 32 bits: a double holds their sums exactly.
      static_cast<double>(mine.batch_digest >> 32),
      static_cast<double>(mine.batch_digest & 0xFFFFFFFF)};
  // Then a place for each rank.
  const size_t shared = v.size();
  v.resize(shared + static_cast<size_t>(communicator.world_size()));
  v[shared + static_cast<size_t>(communicator.rank())] =
      phases.data + phases.forward + phases.backward;
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(v));
  const double ranks = communicator.world_size();
  const auto high_digest = static_cast<uint64_t>(v[14]);
  const auto busy = std::span(v).subspan(shared);
  const auto [fastest, slowest] = std::ranges::minmax_element(busy);
  return StepAgreement{.sums = {.loss = v[0],
                                .tokens = static_cast<int64_t>(v[1]),
                                .correct = static_cast<int64_t>(v[2])},
                       .phases = {.data = v[3] / ranks,
                                  .forward = v[4] / ranks,
                                  .backward = v[5] / ranks,
                                  .communicate = v[6] / ranks,
                                  .optimize = v[7] / ranks,
                                  .checkpoint = v[8] / ranks},
                       .stop = v[9] > 0,
                       .budget = v[10] > 0,
                       .save_due = v[11] > 0,
                       .save = {.busy = v[12] > 0, .failed = v[13] > 0},
                       .batch_digest = (high_digest << 32) + static_cast<uint64_t>(v[15]),
                       .rank_skew_seconds = *slowest - *fastest,
                       .slowest_rank = static_cast<int>(slowest - busy.begin())};
}

}  // namespace wavefield
