#include "core/model/loss.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace wavefield {
namespace {

using RowLoss = std::function<void(Tensor logits, Tensor targets, Tensor losses, Tensor correct)>;
using AfterSlice = std::function<void(int64_t begin, int64_t end, Tensor logits)>;

LossSums OverSlices(const LayerContext& context, Tensor x, Tensor embedding, Tensor targets,
                    const RowLoss& row_loss, const AfterSlice& after_slice) {
  Backend& backend = context.backend;
  const int64_t rows = x.shape[0], vocab = embedding.shape[0];
  const int64_t slice =
      std::clamp<int64_t>(kLogitsSliceElements / vocab, 1, std::max<int64_t>(1, rows));
  const ArenaScope scope(context.arena);
  const Tensor all_logits = context.Allocate({slice, vocab});
  const Tensor all_losses = context.Allocate({slice});
  const Tensor all_correct = context.arena.Allocate({slice}, DType::kInt32);
  std::vector<float> host_losses(static_cast<size_t>(slice));
  std::vector<int32_t> host_correct(static_cast<size_t>(slice));
  std::vector<int32_t> host_targets(static_cast<size_t>(slice));
  LossSums sums;
  for (int64_t begin = 0; begin < rows; begin += slice) {
    const int64_t end = std::min(rows, begin + slice), count = end - begin;
    const Tensor logits = all_logits.Rows(0, count), losses = all_losses.Rows(0, count),
                 correct = all_correct.Rows(0, count), slice_targets = targets.Rows(begin, end);
    backend.MatMul(Transpose::kNo, Transpose::kYes, x.Rows(begin, end), embedding, 0, logits);
    row_loss(logits, slice_targets, losses, correct);
    after_slice(begin, end, logits);
    backend.CopyToHost(losses, host_losses.data());
    backend.CopyToHost(correct, host_correct.data());
    backend.CopyToHost(slice_targets, host_targets.data());
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      if (host_targets[i] < 0) continue;
      sums.loss += host_losses[i];
      sums.correct += host_correct[i];
      ++sums.tokens;
    }
  }
  return sums;
}

}  // namespace

LossSums& LossSums::operator+=(const LossSums& other) {
  loss += other.loss;
  tokens += other.tokens;
  correct += other.correct;
  return *this;
}

LossSums TiedLossForward(const LayerContext& context, Tensor x, Tensor embedding, Tensor targets) {
  return OverSlices(
      context, x, embedding, targets,
      [&](Tensor logits, Tensor slice_targets, Tensor losses, Tensor correct) {
        context.backend.CrossEntropyForward(logits, slice_targets, losses, correct);
      },
      [](int64_t, int64_t, Tensor) {});
}

LossSums TiedLossForwardBackward(const LayerContext& context, Tensor x, Tensor embedding,
                                 Tensor targets, float scale, Tensor dx, Tensor dembedding,
                                 const LossOptions& options) {
  Backend& backend = context.backend;
  return OverSlices(
      context, x, embedding, targets,
      [&](Tensor logits, Tensor slice_targets, Tensor losses, Tensor correct) {
        backend.CrossEntropyForwardBackward(options, scale, logits, slice_targets, losses, correct);
      },
      [&](int64_t begin, int64_t end, Tensor dlogits) {
        backend.MatMul(Transpose::kNo, Transpose::kNo, dlogits, embedding, 0, dx.Rows(begin, end));
        backend.MatMul(Transpose::kYes, Transpose::kNo, dlogits, x.Rows(begin, end), 1, dembedding);
      });
}

}  // namespace wavefield
