#include "core/model/loss.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace wavefield {
namespace {

using RowLoss = std::function<void(Tensor logits, Tensor targets, Tensor losses, Tensor correct)>;
using AfterSlice = std::function<void(int64_t begin, int64_t end, Tensor logits)>;

LossSums OverSlices(const LayerContext& context, Tensor x, Tensor embedding,
                    std::span<const int32_t> targets, const RowLoss& row_loss,
                    const AfterSlice& after_slice) {
  Backend& backend = context.backend;
  const int64_t rows = x.shape[0], vocab = embedding.shape[0];
  const int64_t most =
      context.activations == DType::kBFloat16 ? kBFloat16LogitsSliceElements : kLogitsSliceElements;
  const int64_t slice = std::clamp<int64_t>(most / vocab, 1, std::max<int64_t>(1, rows));
  const ArenaScope scope(context.arena);
  const Tensor all_logits = context.Allocate({slice, vocab});
  const Tensor losses = context.AllocateFloats({rows});
  const Tensor correct = context.arena.Allocate({rows}, DType::kInt32);
  const Tensor all_targets = context.arena.Allocate({rows}, DType::kInt32);
  backend.CopyFromHost(targets.data(), all_targets);
  for (int64_t begin = 0; begin < rows; begin += slice) {
    const int64_t end = std::min(rows, begin + slice);
    const Tensor logits = all_logits.Rows(0, end - begin);
    backend.MatMul(Transpose::kNo, Transpose::kYes, x.Rows(begin, end), embedding, 0, logits);
    row_loss(logits, all_targets.Rows(begin, end), losses.Rows(begin, end),
             correct.Rows(begin, end));
    after_slice(begin, end, logits);
  }
  std::vector<float> host_losses(targets.size());
  std::vector<int32_t> host_correct(targets.size());
  backend.CopyToHost(losses, host_losses.data());
  backend.CopyToHost(correct, host_correct.data());
  LossSums sums;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0) continue;
    sums.loss += host_losses[i];
    sums.correct += host_correct[i];
    ++sums.tokens;
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

LossSums TiedLossForward(const LayerContext& context, Tensor x, Tensor embedding,
                         std::span<const int32_t> targets) {
  return OverSlices(
      context, x, embedding, targets,
      [&](Tensor logits, Tensor slice_targets, Tensor losses, Tensor correct) {
        context.backend.CrossEntropyForward(logits, slice_targets, losses, correct);
      },
      [](int64_t, int64_t, Tensor) {});
}

LossSums TiedLossForwardBackward(const LayerContext& context, Tensor x, Tensor embedding,
                                 std::span<const int32_t> targets, float scale, Tensor dx,
                                 Tensor dembedding, const LossOptions& options) {
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
