#include "worker/trainer/gradient_reduction.h"

#include <algorithm>
#include <span>

#include "core/base/status_macros.h"

namespace wavefield {
namespace {

// What is reduced at the end goes in pieces of this many elements (4 MiB).
constexpr int64_t kPieceElements = 1 << 20;

}  // namespace

void GradientReduction::Final(int64_t begin) {
  if (!communicator_.overlaps() || rest_ - begin < bucket_) return;
  Begin(begin, rest_);
  rest_ = begin;
}

absl::Status GradientReduction::Finish() {
  for (int64_t begin = 0; begin < rest_; begin += kPieceElements) {
    Begin(begin, std::min(begin + kPieceElements, rest_));
  }
  WF_RETURN_IF_ERROR(status_);
  return communicator_.Finish();
}

void GradientReduction::Begin(int64_t begin, int64_t end) {
  if (!status_.ok()) return;
  status_ = communicator_.BeginAllReduceSum(
      std::span(gradients_.f32() + begin, static_cast<size_t>(end - begin)));
}

}  // namespace wavefield
