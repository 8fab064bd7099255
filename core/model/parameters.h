#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backend/backend.h"
#include "core/base/rng.h"
#include "core/model/config/model_config.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// What training recipes tell apart.
enum class ParameterGroup {
  kMatrix,
  kEmbedding,
  kVector,  // norms, biases
  kKernel,  // what shapes a mixer's kernel: damping, frequency, phase, coupling
};

// Element `i` of a parameter's initial value. `random` is the parameter's own stream.
using InitialValue = std::function<double(const RandomStream& random, int64_t i)>;
InitialValue Constant(double value);
InitialValue Normal(double deviation);
// In [−bound, bound).
InitialValue Uniform(double bound);

// One parameter (docs/model.md, "Configuration and tensor names").
struct ParameterDescription {
  std::string name;
  Shape shape;
  ParameterGroup group;
  bool decays;       // subject to weight decay
  int64_t products;  // matrix products per token that it takes part in: what model FLOPs count
  InitialValue initial;
};

// Descriptions of the usual kinds. A matrix decays and takes part in one product per token.
ParameterDescription MatrixParameter(std::string name, int64_t out, int64_t in,
                                     InitialValue initial = Normal(0.02));
ParameterDescription VectorParameter(std::string name, Shape shape, double value);
ParameterDescription KernelParameter(std::string name, Shape shape, InitialValue initial);

struct ParameterInfo : ParameterDescription {
  int64_t offset;  // of the first element in the flat buffer
};

// Where every parameter of a model lies in one flat buffer: in the order of the forward pass,
// without gaps. The same layout serves parameters, gradients and optimizer state. Immutable.
class ParameterLayout {
 public:
  // REQUIRES: a valid configuration.
  explicit ParameterLayout(const ModelConfig& config);

  const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  int64_t elements() const { return elements_; }
  // Of the first parameter below `prefix`: those below it lie together. REQUIRES: there is one.
  int64_t FirstElement(const std::string& prefix) const;

  // The named tensor's view of a flat buffer of elements() floats. REQUIRES: the name exists.
  Tensor View(Tensor flat, const std::string& name) const;
  Tensor View(Tensor flat, const ParameterInfo& info) const;

 private:
  std::vector<ParameterInfo> parameters_;
  std::unordered_map<std::string, size_t> places_;  // in parameters_
  int64_t elements_ = 0;
};

// The parameters below a prefix in one flat buffer, or empty tensors if the buffer is empty. Refers
// to the layout.
class ParameterViews {
 public:
  ParameterViews(const ParameterLayout& layout, Tensor flat, std::string prefix)
      : layout_(layout), flat_(flat), prefix_(std::move(prefix)) {}
  // REQUIRES: the name exists.
  Tensor operator[](const std::string& name) const {
    return flat_.empty() ? Tensor{} : layout_.View(flat_, prefix_ + name);
  }

 private:
  const ParameterLayout& layout_;
  Tensor flat_;
  std::string prefix_;
};

// Writes the initial values (docs/model.md, "Initialisation") into `flat`. Every value is a
// function of (seed, tensor name, element) alone.
void InitializeParameters(const ParameterLayout& layout, uint64_t seed, Backend& backend,
                          Tensor flat);

}  // namespace wavefield
