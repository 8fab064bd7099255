#include "core/model/causality.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/rng.h"

namespace wavefield {
namespace {

using Finding = CausalityAudit::Finding;

// The largest difference between the logits after tokens [0, end).
void Compare(const std::vector<float>& a, const std::vector<float>& b, int64_t end,
             int64_t vocabulary, Finding at, Finding& largest) {
  for (int64_t i = 0; i < end * vocabulary; ++i) {
    const double difference =
        std::abs(static_cast<double>(a[static_cast<size_t>(i)]) - b[static_cast<size_t>(i)]);
    // What is not a number is the largest difference of all: no comparison holds for it.
    if (difference <= largest.difference || std::isnan(largest.difference)) continue;
    at.difference = difference;
    at.token = i / vocabulary;
    at.vocabulary_id = i % vocabulary;
    largest = at;
  }
}

std::vector<float> GenerationLogits(Model& model, std::span<const int32_t> ids) {
  SequenceState state(model.backend(), model.config());
  std::vector<float> all;
  all.reserve(ids.size() * static_cast<size_t>(model.config().vocab_size));
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::vector<float> logits = model.Continue(state, ids.subspan(t, 1));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

double LargestSize(const std::vector<float>& logits) {
  double largest = 0;
  for (const float logit : logits)
    largest = std::max(largest, std::abs(static_cast<double>(logit)));
  return largest;
}

// Which tokens to change: the middle, the last, the second, then others by chance.
std::vector<int64_t> Places(int64_t tokens, int64_t count, const RandomStream& random) {
  std::vector<int64_t> places = {tokens / 2, tokens - 1, 1};
  for (int64_t i = 0; static_cast<int64_t>(places.size()) < count; ++i) {
    places.push_back(1 + static_cast<int64_t>(random.Below(static_cast<uint64_t>(i),
                                                           static_cast<uint64_t>(tokens - 1))));
  }
  places.resize(static_cast<size_t>(std::max<int64_t>(1, count)));
  for (int64_t& place : places) place = std::max<int64_t>(place, 1);
  return places;
}

}  // namespace

bool CausalityAudit::passed() const {
  return training_leak.difference <= allowed_leak && generation_leak.difference <= allowed_leak &&
         disagreement.difference <= allowed_disagreement;
}

CausalityAudit AuditCausality(Model& model, std::span<const std::vector<int32_t>> windows,
                              const CausalityAuditOptions& options) {
  const int64_t vocabulary = model.config().vocab_size;
  const RandomStream random(options.seed, "causality audit");
  CausalityAudit audit;
  audit.windows = static_cast<int64_t>(windows.size());
  uint64_t draw = uint64_t{1} << 32;
  for (int64_t w = 0; w < audit.windows; ++w) {
    std::vector<int32_t> ids = windows[static_cast<size_t>(w)];
    const auto tokens = static_cast<int64_t>(ids.size());
    const auto trained = model.Logits(ids);
    const auto generated = GenerationLogits(model, ids);
    audit.largest_logit = std::max(audit.largest_logit, LargestSize(trained));
    Compare(trained, generated, tokens, vocabulary, {.window = w}, audit.disagreement);
    bool first = true;
    for (const int64_t place : Places(tokens, options.changes_per_window, random)) {
      int32_t& id = ids[static_cast<size_t>(place)];
      const int32_t original = id;
      const auto step = 1 + random.Below(draw++, static_cast<uint64_t>(vocabulary - 1));
      id = static_cast<int32_t>((static_cast<uint64_t>(original) + step) %
                                static_cast<uint64_t>(vocabulary));
      const Finding at{.window = w, .changed_token = place};
      Compare(trained, model.Logits(ids), place, vocabulary, at, audit.training_leak);
      if (std::exchange(first, false)) {
        const auto prefix = std::span(ids).first(static_cast<size_t>(place) + 1);
        Compare(generated, GenerationLogits(model, prefix), place, vocabulary, at,
                audit.generation_leak);
      }
      id = original;
      ++audit.changes;
    }
  }
  // Rounding moves a logit by some 1e-6 of its size in each layer, twice that between two ways to
  // compute it; a leak that teaches a model anything moves it by far more.
  const double size = std::max(1.0, audit.largest_logit);
  audit.allowed_leak = model.options().propagation == Propagation::kFft ? 1e-3 * size : 0;
  audit.allowed_disagreement = 1e-3 * size;
  return audit;
}

}  // namespace wavefield
