#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/model/config/field_violation.h"
#include "core/model/layer.h"

namespace wavefield {

// What surrounds the mixers of a form: norms, feed-forward, positions (docs/model.md, "Skeleton").
enum class Skeleton { kModern, kClassic };

// A form of the model: how its tokens are mixed. One folder each beside this file; Mixers() lists
// them. CONTRIBUTING.md walks through adding one.
class MixerKind : public LayerKind {
 public:
  // The value of the config key `form`.
  virtual std::string form() const = 0;
  virtual Skeleton skeleton() const { return Skeleton::kModern; }
  // Adds what is wrong for this mixer beyond what is wrong for any.
  virtual void Validate(const ModelConfig&, ViolationList&) const {}
  // The ways of propagation it may be told to use; none: it knows one way only.
  virtual std::vector<Propagation> Ways(const ModelConfig&) const { return {}; }
  // Whether only the CPU backend computes it.
  virtual bool cpu_only() const { return false; }
  // Adds what of a valid configuration a GPU does not compute: fields by their whole path
  // ("model.n_heads"). Not asked where cpu_only().
  virtual void ValidateForCuda(const ModelConfig&, ViolationList&) const {}
  // FLOPs per token of the forward pass that mix tokens, at a window of `tokens`: those of no
  // matrix parameter, and so not among the model FLOPs.
  virtual double MixingFlops(const ModelConfig& config, int64_t tokens) const = 0;
};

// All of them.
std::span<const MixerKind* const> Mixers();

// The mixer of that form; null if there is none.
const MixerKind* FindMixer(const std::string& form);

}  // namespace wavefield
