#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/checkpoint/reader.h"
#include "core/checkpoint/writer.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield {

// Named tensors that own their memory.
class TensorSet {
 public:
  void Add(const std::string& name, Shape shape, std::mt19937* random = nullptr) {
    std::vector<float>& data = memory_.emplace_back(static_cast<size_t>(shape.elements()) + 1);
    std::normal_distribution<float> normal;
    if (random != nullptr) {
      for (float& x : data) x = normal(*random);
    }
    tensors_.push_back({name, {data.data(), DType::kFloat32, shape}});
  }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

  // The same names and shapes, all zero.
  TensorSet Zeros() const {
    TensorSet zeros;
    for (const NamedTensor& named : tensors_) zeros.Add(named.name, named.tensor.shape);
    return zeros;
  }

 private:
  std::deque<std::vector<float>> memory_;
  std::vector<NamedTensor> tensors_;
};

// A little model with its optimizer's state.
struct SampleState {
  explicit SampleState(uint32_t seed) {
    std::mt19937 random(seed);
    const auto add = [&](const std::string& name, Shape shape) {
      model.Add(name, shape, &random);
      optimizer.Add("m." + name, shape, &random);
      optimizer.Add("v." + name, shape, &random);
    };
    add("embedding.weight", {13, 8});
    add("layers.0.mixer.qkvg.weight", {32, 8});
    add("layers.0.mixer.frequency", {2});
    add("layers.0.mixer.conv.weight", {24, 4});
    add("norm.weight", {8});
  }
  TensorSet model;
  TensorSet optimizer;
};

inline constexpr char kCheckpoints[] = "jobs/j1/checkpoints";

inline std::string PathOf(const CheckpointId& id) {
  return JoinStoragePath(kCheckpoints, CheckpointDirectoryName(id));
}

inline CheckpointManifest SampleManifest(const CheckpointId& id, int world_size) {
  CheckpointManifest manifest;
  manifest.job = "j1";
  manifest.step = id.step;
  manifest.epoch = id.epoch;
  manifest.batch_index = id.step + 1;
  manifest.tokens = id.step * 8192;
  manifest.seed = 18'446'744'073'709'551'615u;
  manifest.created = absl::FromUnixSeconds(1'900'000'000);
  manifest.model_config = {{"form", "modern"}, {"d_model", 8}};
  manifest.training_spec = {{"learning_rate", 0.002}, {"steps", 400}};
  manifest.dataset = "gcide";
  manifest.dataset_content_hash = std::string(64, 'a');
  manifest.tokenizer_hash = std::string(64, 'b');
  manifest.fingerprint = {{"backend", "cpu"}, {"threads", 1}};
  manifest.metrics = {{"loss", 3.9170000553131104}, {"eval", {{"loss", 4.25}}}};
  manifest.world_size = world_size;
  return manifest;
}

// Writes a whole checkpoint as `world_size` ranks do, one after the other.
inline absl::Status WriteSample(Storage& storage, const CheckpointId& id, const SampleState& state,
                                int world_size, std::span<const ExtraFile> extra = {}) {
  for (int rank = 0; rank < world_size; ++rank) {
    const absl::Status status = WriteCheckpointShard(
        storage, PathOf(id), rank, world_size, state.model.tensors(), state.optimizer.tensors(),
        {{"format", "wavefield"}, {"config", "{\"form\":\"modern\"}"}});
    if (!status.ok()) return status;
  }
  return CommitCheckpoint(storage, PathOf(id), SampleManifest(id, world_size), extra).status();
}

inline void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace wavefield
