#include "tests/core/model/form_laws.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "tests/core/model/forms.h"
#include "tests/support/gradient_checker.h"
#include "tests/support/random_inputs.h"

namespace wavefield::testing {
namespace {

// The same random weights and tokens for every model of one check.
struct Sample {
  explicit Sample(const ModelConfig& config) : config(config) {}

  std::unique_ptr<Model> Make(Backend& backend, const ExecutionOptions& options = {}) const {
    auto model = std::make_unique<Model>(backend, config, options);
    std::mt19937_64 weights(seed);
    model->Initialize(seed);
    Perturb(*model, weights);
    return model;
  }
  std::vector<int32_t> Ids(int64_t count) { return RandomIds(random, count, config.vocab_size); }

  const ModelConfig config;
  const uint64_t seed = FreshSeed();
  std::mt19937_64 random{seed + 1};
};

// Loss of one training pass, which leaves its gradients.
double Train(Model& model, int64_t batch, const std::vector<int32_t>& ids,
             const std::vector<int32_t>& targets) {
  model.ZeroGradients();
  model.Forward(batch, ids, 17);
  return model.Backward(targets, 1.0f / static_cast<float>(ids.size())).loss;
}

using Norms = std::vector<double>;  // of one value per parameter

// Of a's gradients, or of what b's differ from them.
Norms GradientNorms(const Model& a, const Model* b = nullptr) {
  Norms norms;
  for (const ParameterInfo& info : a.layout().parameters()) {
    const float* x = a.layout().View(a.gradients(), info).f32();
    const float* y = b == nullptr ? nullptr : b->layout().View(b->gradients(), info).f32();
    double sum = 0;
    for (int64_t k = 0; k < info.shape.elements(); ++k) {
      sum += std::pow(x[k] - (y == nullptr ? 0.0 : y[k]), 2);
    }
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

// What is trained on, and how.
struct Pass {
  Backend& backend;
  ExecutionOptions options;
  int64_t batch;
  std::vector<int32_t> ids, targets;
};

// What some roundings of all weights do to the gradients: small sums of large terms feel them most
// (the frequency's above all).
Norms Felt(Sample& sample, const Pass& pass, const Model& model) {
  Norms felt(model.layout().parameters().size(), 0);
  for (int draw = 0; draw < 3; ++draw) {
    const auto moved = sample.Make(pass.backend, pass.options);
    const Tensor weights = moved->parameters();
    for (int64_t k = 0; k < weights.elements(); ++k) {
      weights.f32()[k] *= 1 + (sample.random() % 2 == 0 ? 1e-6f : -1e-6f);
    }
    Train(*moved, pass.batch, pass.ids, pass.targets);
    const Norms difference = GradientNorms(model, moved.get());
    for (size_t i = 0; i < felt.size(); ++i) felt[i] += difference[i];
  }
  return felt;
}

// Each parameter's gradients, of `pass` and computed in another order, differ by at most a share of
// them; where that is too little, also by what they feel of roundings.
void ExpectCloseGradients(Sample& sample, const Pass& pass, const Model& expected,
                          const Model& actual, double share) {
  const Norms norms = GradientNorms(expected), differences = GradientNorms(expected, &actual);
  Norms felt;
  for (size_t i = 0; i < norms.size(); ++i) {
    double tolerance = share * norms[i] + 1e-7;
    if (differences[i] >= tolerance) {
      if (felt.empty()) felt = Felt(sample, pass, expected);
      tolerance += felt[i];
    }
    EXPECT_LT(differences[i], tolerance) << expected.layout().parameters()[i].name;
  }
}

}  // namespace

void ExpectFiniteDifferences(const ModelConfig& config, int64_t tokens) {
  Sample sample(config);
  const auto backend = MakeReferenceBackend();
  const auto model = sample.Make(*backend);
  const int64_t batch = 2;
  const auto ids = sample.Ids(batch * tokens);
  auto targets = sample.Ids(batch * tokens);
  if (targets.size() > 2) targets[1] = -1;

  model->ZeroGradients();
  model->Forward(batch, ids);
  const LossSums sums = model->Backward(targets, 1.0f);
  const auto loss = [&] { return model->Evaluate(batch, ids, targets).loss; };
  EXPECT_NEAR(loss(), sums.loss, 1e-4 * sums.loss);

  // Activations are fp32 in every backend, which moves the summed loss by about 1e-6 of itself; a
  // movement of 0.01 nats keeps both that and curvature below a few per cent of the difference, as
  // a rule; the checker says by how much more it may be off.
  for (const ParameterInfo& info : model->layout().parameters()) {
    // A frequency turns phases by as much as itself for every token.
    const bool turns = info.name.ends_with("frequency");
    const double reach = turns ? std::min(0.03, 0.2 / static_cast<double>(tokens)) : 0.03;
    const auto check =
        CheckAlongGradient(model->layout().View(model->parameters(), info),
                           model->layout().View(model->gradients(), info), loss, 0.01, reach);
    EXPECT_NEAR(check.analytic, check.numeric, 0.05 * std::abs(check.analytic) + check.error)
        << info.name;
    if (config.n_heads > 1 && tokens > 1) {
      EXPECT_NE(check.analytic, 0) << info.name;
    }
  }
}

void ExpectCpuAgreesWithReference(const ModelConfig& config, const ExecutionOptions& options) {
  Sample sample(config);
  const auto reference = MakeReferenceBackend();
  const auto cpu = MakeCpuBackend(2);
  const auto expected = sample.Make(*reference), actual = sample.Make(*cpu, options);
  const int64_t batch = 2, tokens = 150;
  const auto ids = sample.Ids(batch * tokens), targets = sample.Ids(batch * tokens);
  const double loss = Train(*expected, batch, ids, targets);
  EXPECT_NEAR(loss, Train(*actual, batch, ids, targets), 1e-5 * loss);
  // fp32 rounding through two layers.
  ExpectCloseGradients(sample, {*reference, {}, batch, ids, targets}, *expected, *actual, 2e-4);
}

void ExpectCausality(const ModelConfig& config, const ExecutionOptions& options) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(2);
  const auto model = sample.Make(*backend, options);
  const int64_t tokens = 200, changed = 100, vocabulary = config.vocab_size;
  auto ids = sample.Ids(tokens);
  const auto before = model->Logits(ids);
  ids[changed] = (ids[changed] + 1) % static_cast<int32_t>(vocabulary);
  const auto after = model->Logits(ids);
  const double allowed = options.propagation == Propagation::kFft ? 1e-3 : 0;
  for (int64_t i = 0; i < changed * vocabulary; ++i) {
    ASSERT_LE(std::abs(before[static_cast<size_t>(i)] - after[static_cast<size_t>(i)]), allowed)
        << "token " << i / vocabulary;
  }
  EXPECT_NE(0, std::memcmp(&before[static_cast<size_t>(changed * vocabulary)],
                           &after[static_cast<size_t>(changed * vocabulary)],
                           static_cast<size_t>(vocabulary) * sizeof(float)));
}

void ExpectContinuation(const ModelConfig& config) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(1);
  const auto model = sample.Make(*backend);
  const auto ids = sample.Ids(700);  // longer than a piece of Continue
  SequenceState whole(*backend, config), pieces(*backend, config);
  const auto all = model->Logits(ids);
  const auto expected = model->Continue(whole, ids);
  model->Continue(pieces, std::span(ids).first(130));
  for (size_t i = 130; i < 140; ++i) model->Continue(pieces, {&ids[i], 1});
  const auto actual = model->Continue(pieces, std::span(ids).subspan(140));
  // Other boundaries of chunks, other rounding.
  for (size_t v = 0; v < expected.size(); ++v) {
    EXPECT_NEAR(expected[v], actual[v], 2e-3) << v;
    EXPECT_NEAR(all[699 * expected.size() + v], actual[v], 2e-3) << v;
  }
}

void ExpectPieces(const ModelConfig& config, int64_t piece) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(2);
  const int64_t batch = 2, tokens = 150;
  const auto ids = sample.Ids(batch * tokens), targets = sample.Ids(batch * tokens);
  const auto whole = sample.Make(*backend, {.dropout = 0.1f});
  const auto pieces = sample.Make(*backend, {.sequence_chunk = piece, .dropout = 0.1f});
  const double loss = Train(*whole, batch, ids, targets);
  EXPECT_NEAR(Train(*pieces, batch, ids, targets), loss, 1e-5 * loss);
  const double evaluated = whole->Evaluate(batch, ids, targets).loss;
  EXPECT_NEAR(pieces->Evaluate(batch, ids, targets).loss, evaluated, 1e-5 * evaluated);
  // Sums over the pieces round once for each of them; a state that was carried wrongly is off by
  // about all of the gradient.
  ExpectCloseGradients(sample, {*backend, {.dropout = 0.1f}, batch, ids, targets}, *whole, *pieces,
                       piece < 10 ? 1e-2 : 1e-3);
}

void ExpectRecomputation(const ModelConfig& config) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(2);
  const int64_t batch = 2, tokens = 100;
  const auto ids = sample.Ids(batch * tokens), targets = sample.Ids(batch * tokens);
  for (const int64_t piece : {0, 60}) {
    const auto kept = sample.Make(*backend, {.sequence_chunk = piece, .dropout = 0.1f});
    const double loss = Train(*kept, batch, ids, targets);
    for (const Recompute recompute : {Recompute::kMixer, Recompute::kBlock}) {
      const auto again =
          sample.Make(*backend, {.recompute = recompute, .sequence_chunk = piece, .dropout = 0.1f});
      EXPECT_EQ(Train(*again, batch, ids, targets), loss);
      EXPECT_EQ(0, std::memcmp(again->gradients().data, kept->gradients().data,
                               kept->gradients().bytes()));
      if (recompute == Recompute::kBlock) {
        EXPECT_LT(again->arena().peak_bytes(), kept->arena().peak_bytes());
      }
    }
  }
}

void ExpectFinalGradientsAreTold(const ModelConfig& config) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(2);
  const int64_t batch = 2, tokens = 100;
  const auto ids = sample.Ids(batch * tokens), targets = sample.Ids(batch * tokens);
  for (const int64_t piece : {0, 60}) {
    for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
      const auto model =
          sample.Make(*backend, {.recompute = recompute, .sequence_chunk = piece, .dropout = 0.1f});
      Train(*model, batch, ids, targets);  // what a step's earlier batches left
      model->Forward(batch, ids, 18);
      const Tensor gradients = model->gradients();
      std::vector<float> told(static_cast<size_t>(gradients.elements()));
      int64_t rest = gradients.elements();
      size_t ranges = 0;
      model->Backward(targets, 1, [&](int64_t begin, int64_t end) {
        EXPECT_EQ(end, rest);
        EXPECT_LT(begin, end);
        std::copy(gradients.f32() + begin, gradients.f32() + end, told.begin() + begin);
        rest = begin;
        ++ranges;
      });
      EXPECT_EQ(rest, 0);
      EXPECT_EQ(ranges, Branches(config).size() + 2);  // the last norm, the embedding
      EXPECT_EQ(0, std::memcmp(told.data(), gradients.data, gradients.bytes()));
    }
  }
}

void ExpectNoFurtherAllocation(const ModelConfig& config) {
  Sample sample(config);
  const auto backend = MakeCpuBackend(2);
  const auto model = sample.Make(*backend);
  const auto ids = sample.Ids(128), targets = sample.Ids(128);
  Train(*model, 2, ids, targets);
  const size_t planned = model->arena().peak_bytes();
  Train(*model, 2, ids, targets);
  EXPECT_EQ(model->arena().peak_bytes(), planned);
}

void ExpectFormLaws(const ModelConfig& config) {
  ExpectFiniteDifferences(config, 9);
  ExpectFiniteDifferences(config, 1);
  ExpectCpuAgreesWithReference(config, {});
  ExpectCausality(config, {});
  ExpectContinuation(config);
  for (const int64_t piece : {40, 75, 149, 1000}) ExpectPieces(config, piece);
  ExpectRecomputation(config);
  ExpectFinalGradientsAreTold(config);
  ExpectNoFurtherAllocation(config);
}

}  // namespace wavefield::testing
