#include "core/checkpoint/snapshot.h"

#include <cstring>
#include <utility>

#include "core/checkpoint/writer.h"

namespace wavefield {

ShardSnapshot::ShardSnapshot(std::vector<NamedTensor> model, std::vector<NamedTensor> optimizer,
                             int rank, int world_size)
    : model_(std::move(model)), optimizer_(std::move(optimizer)) {
  std::vector<Tensor*> mine;
  int64_t elements = 0;
  for (std::vector<NamedTensor>* list : {&model_, &optimizer_}) {
    const std::vector<int> owners = AssignTensorsToRanks(*list, world_size);
    for (size_t i = 0; i < list->size(); ++i) {
      NamedTensor& named = (*list)[i];
      if (owners[i] == rank) {
        sources_.push_back(named);
        mine.push_back(&named.tensor);
        elements += named.tensor.elements();
      }
      named.tensor.data = nullptr;
      named.owner = nullptr;
    }
  }
  memory_.resize(static_cast<size_t>(elements));
  float* next = memory_.data();
  for (Tensor* tensor : mine) {
    tensor->data = next;
    next += tensor->elements();
  }
}

void ShardSnapshot::Take() {
  float* next = memory_.data();
  for (const NamedTensor& source : sources_) {
    if (source.owner != nullptr) {
      source.owner->CopyToHost(source.tensor, next);
    } else {
      std::memcpy(next, source.tensor.data, source.tensor.bytes());
    }
    next += source.tensor.elements();
  }
}

}  // namespace wavefield
