// Model::Inspect against values worked out here from docs/model.md.
#include "core/model/field_health.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/model/model.h"
#include "tests/core/model/forms.h"
#include "tests/support/random_inputs.h"

namespace wavefield {
namespace {

using testing::Forms;

constexpr double kEpsilon = 1e-6;  // of rms norms

double Silu(double x) { return x / (1 + std::exp(-x)); }
double Softplus(double x) { return std::log1p(std::exp(x)); }

double MeanSquare(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return sum / static_cast<double>(x.size());
}

std::vector<double> Normed(std::vector<double> x) {
  const double scale = 1 / std::sqrt(MeanSquare(x) + kEpsilon);
  for (double& v : x) v *= scale;
  return x;
}

// One layer of two heads, one column each, elementwise, whose matrices are the identity, whose
// convolution passes its input on, and whose feed-forward adds nothing. Windows have one token.
class TwoColumns : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr int64_t kVocabulary = 5;

  TwoColumns() {
    backend_ = GetParam() ? MakeCpuBackend(1) : MakeReferenceBackend();
    ModelConfig config;
    config.d_model = 2;
    config.n_layers = 1;
    config.n_heads = 2;
    config.d_ff = 2;
    config.vocab_size = kVocabulary;
    config.damping = "selective";
    config.deposit = "elementwise";
    model_ = std::make_unique<Model>(*backend_, config);
    backend_->Fill(model_->parameters(), 0);
    for (const char* norm : {"norm1.weight", "norm2.weight", "mixer.head_norm.weight"}) {
      Set(norm, {1, 1});
    }
    Set("mixer.qkvg.weight", {1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1});
    std::vector<float> conv(6 * static_cast<size_t>(config.conv_width), 0);
    for (size_t i = 0; i < 6; ++i) conv[(i + 1) * conv.size() / 6 - 1] = 1;
    Set("mixer.conv.weight", conv);
    Set("mixer.out.weight", {1, 0, 0, 1});
    Set("mixer.damping.bias", {-1, -3});
    Set("mixer.damping.weight", {0.5, -0.25, 1, 2});
    Set("mixer.frequency", {0.25, 0.75});
    Set("mixer.phase", {0.5, -0.5});
    Set("mixer.coupling", {0, 0, 0, std::log(9.0f)});
    embedding_ = {3, -1, 0.5, 2, -2, 0.25, 1, 1, -0.5, -3};
    const Tensor table = model_->layout().View(model_->parameters(), "embedding.weight");
    std::copy(embedding_.begin(), embedding_.end(), table.f32());
  }

  void Set(const std::string& name, const std::vector<float>& values) {
    const Tensor tensor = model_->layout().View(model_->parameters(), "layers.0." + name);
    ASSERT_EQ(tensor.elements(), static_cast<int64_t>(values.size())) << name;
    std::copy(values.begin(), values.end(), tensor.f32());
  }

  std::vector<double> Embedding(int64_t id) const {
    return {embedding_[static_cast<size_t>(2 * id)], embedding_[static_cast<size_t>(2 * id + 1)]};
  }

  LayerHealth Inspect() {
    const std::vector<int32_t> ids = {4, 2, 0, 1, 3};
    const std::vector<LayerHealth> layers = model_->Inspect(kVocabulary, ids);
    EXPECT_EQ(layers.size(), 1u);
    return layers.at(0);
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::vector<float> embedding_;
};

TEST_P(TwoColumns, TimeConstantsAreThePercentilesOverTheTokens) {
  const LayerHealth layer = Inspect();
  ASSERT_EQ(layer.heads.size(), 2u);
  for (size_t h = 0; h < 2; ++h) {
    std::vector<double> constants;
    for (int64_t id = 0; id < kVocabulary; ++id) {
      const std::vector<double> x = Normed(Embedding(id));
      constants.push_back(
          1 / Softplus(h == 0 ? -1 + 0.5 * x[0] - 0.25 * x[1] : -3 + 1.0 * x[0] + 2.0 * x[1]));
    }
    std::sort(constants.begin(), constants.end());
    EXPECT_NEAR(layer.heads[h].time_constant_p10, constants[0], 1e-4 * constants[0]);
    EXPECT_NEAR(layer.heads[h].time_constant_p50, constants[2], 1e-4 * constants[2]);
    EXPECT_NEAR(layer.heads[h].time_constant_p90, constants[4], 1e-4 * constants[4]);
  }
}

TEST_P(TwoColumns, FrequencyPhaseAndEntropyAreThoseOfTheParameters) {
  const LayerHealth layer = Inspect();
  EXPECT_EQ(layer.heads[0].frequency, 0.25);
  EXPECT_EQ(layer.heads[1].frequency, 0.75);
  EXPECT_EQ(layer.heads[0].phase, 0.5);
  EXPECT_EQ(layer.heads[1].phase, -0.5);
  EXPECT_NEAR(layer.heads[0].coupling_entropy, std::log(2.0), 1e-6);
  EXPECT_NEAR(layer.heads[1].coupling_entropy, -0.9 * std::log(0.9) - 0.1 * std::log(0.1), 1e-6);
}

TEST_P(TwoColumns, RootMeanSquaresAreThoseOfTheFormulas) {
  std::vector<double> mixed, stream;
  for (int64_t id = 0; id < kVocabulary; ++id) {
    const std::vector<double> embedded = Embedding(id), x = Normed(embedded);
    double fields[2];  // at distance 0: cos φ · k v, φ = ±½
    for (int c = 0; c < 2; ++c) fields[c] = std::cos(0.5) * Silu(x[c]) * Silu(x[c]);
    const double heard[2] = {0.5 * fields[0] + 0.5 * fields[1], 0.1 * fields[0] + 0.9 * fields[1]};
    for (int c = 0; c < 2; ++c) {
      const double z = Normed({Silu(x[c]) * heard[c]})[0];
      mixed.push_back(z * Silu(x[c]));
      stream.push_back(embedded[c] + mixed.back());
    }
  }
  const LayerHealth layer = Inspect();
  EXPECT_NEAR(layer.mixer_rms, std::sqrt(MeanSquare(mixed)), 1e-5);
  EXPECT_NEAR(layer.residual_rms, std::sqrt(MeanSquare(stream)), 1e-5);
}

TEST_P(TwoColumns, ADampingThatIsNotANumberShows) {
  Set("mixer.damping.bias", {std::numeric_limits<float>::quiet_NaN(), -3});
  const LayerHealth layer = Inspect();
  EXPECT_TRUE(std::isnan(layer.heads[0].time_constant_p10));
  EXPECT_TRUE(std::isnan(layer.heads[0].time_constant_p90));
  EXPECT_TRUE(std::isfinite(layer.heads[1].time_constant_p50));
}

INSTANTIATE_TEST_SUITE_P(Backends, TwoColumns, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "cpu" : "reference"; });

TEST(FieldHealth, EveryMixerWithWavesReportsItsHeads) {
  const auto backend = MakeCpuBackend(1);
  auto forms = Forms(2, 16);
  ModelConfig classic = forms[0].config;
  classic.form = "classic";
  classic.damping = "static";
  classic.deposit = "elementwise";
  classic.n_layers = 3;  // the last with interference
  forms.push_back({"classic", classic, {}});
  const uint64_t seed = testing::FreshSeed();
  std::mt19937_64 random(seed);
  const std::vector<int32_t> ids = testing::RandomIds(random, 2 * 40, classic.vocab_size);
  for (const testing::Form& form : forms) {
    SCOPED_TRACE(form.name);
    Model model(*backend, form.config, form.options);
    model.Initialize(seed);
    const std::vector<float> before = model.Logits(ids);
    const std::vector<LayerHealth> layers = model.Inspect(2, ids);
    EXPECT_EQ(model.Logits(ids), before);
    ASSERT_EQ(layers.size(), static_cast<size_t>(form.config.n_layers));
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto& attention = form.config.attention_layers;
      const bool attends =
          form.config.form == "attention" ||
          std::count(attention.begin(), attention.end(), static_cast<int64_t>(i)) > 0;
      EXPECT_EQ(layers[i].heads.size(), attends ? 0u : 2u);
      EXPECT_GT(layers[i].mixer_rms, 0);
      EXPECT_GT(layers[i].residual_rms, 0);
      // Initial weights let content do nothing to the damping yet.
      for (size_t h = 0; h < layers[i].heads.size(); ++h) {
        const HeadHealth& head = layers[i].heads[h];
        const double tau = form.name == "classic" ? 1 / Softplus(-0.69) : h == 0 ? 2 : 1024;
        for (const double constant :
             {head.time_constant_p10, head.time_constant_p50, head.time_constant_p90}) {
          EXPECT_NEAR(constant, tau, 1e-3 * tau);
        }
      }
    }
  }
}

}  // namespace
}  // namespace wavefield
