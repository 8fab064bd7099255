#include "tests/core/data/tokenizer/foreign_model.h"

#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <sstream>
#include <unordered_map>
#include <vector>

namespace wavefield {
namespace {

class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::string& text) : lines_(text) { Next(); }
  bool done() const override { return done_; }
  void Next() override { done_ = !std::getline(lines_, line_); }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::istringstream lines_;
  std::string line_;
  bool done_ = false;
};

}  // namespace

std::string TrainForeignModel(const std::string& text, const ForeignModelOptions& options) {
  Lines lines(text);
  std::string model;
  std::unordered_map<std::string, std::string> flags = {
      {"model_type", options.type},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"hard_vocab_limit", "false"},
      {"normalization_rule_name", options.normalization},
      {"byte_fallback", options.byte_fallback ? "true" : "false"},
      {"split_by_whitespace", options.spans_words ? "false" : "true"},
      {"num_threads", "1"},
      {"minloglevel", "3"}};
  if (!options.user_symbols.empty()) flags.emplace("user_defined_symbols", options.user_symbols);
  if (options.self_test) flags.emplace("self_test_sample_size", "5");
  const auto status = sentencepiece::SentencePieceTrainer::Train(flags, &lines, &model);
  if (!status.ok()) std::abort();
  return model;
}

}  // namespace wavefield
