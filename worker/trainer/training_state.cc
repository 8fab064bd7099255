#include "worker/trainer/training_state.h"

#include <array>
#include <utility>

#include "core/base/status_macros.h"

namespace wavefield {
namespace {

std::vector<NamedTensor> NamedViews(Model& model, Tensor flat, const std::string& prefix) {
  std::vector<NamedTensor> tensors;
  for (const ParameterInfo& info : model.layout().parameters()) {
    tensors.push_back({prefix + info.name, model.layout().View(flat, info), &model.backend()});
  }
  return tensors;
}

}  // namespace

absl::StatusOr<bool> OkOnEveryRank(const absl::Status& status, Communicator& communicator) {
  std::array<double, 1> failures = {status.ok() ? 0.0 : 1.0};
  WF_RETURN_IF_ERROR(communicator.AllReduceSum(failures));
  return failures[0] == 0;
}

std::vector<NamedTensor> TrainingState::ModelTensors() const {
  return NamedViews(model, model.parameters(), "");
}

std::vector<NamedTensor> TrainingState::OptimizerTensors() const {
  auto tensors = NamedViews(model, optimizer.first_moment(), "m.");
  for (auto& tensor : NamedViews(model, optimizer.second_moment(), "v.")) {
    tensors.push_back(std::move(tensor));
  }
  if (optimizer.average().empty()) return tensors;
  for (auto& tensor : NamedViews(model, optimizer.average(), "ema.")) {
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace wavefield
