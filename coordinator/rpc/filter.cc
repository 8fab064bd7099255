#include "coordinator/rpc/filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/base/suggest.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxBytes = 4096;
constexpr size_t kMaxConditions = 32;
constexpr char kSyntax[] =
    "conditions are FIELD OP VALUE, joined by \" AND \"; a value with spaces stands in double "
    "quotes";

// As it was written.
struct WrittenCondition {
  std::string field;
  std::string op;
  std::string value;
  bool prefix = false;
};

bool IsFieldCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

// Takes conditions off a text from left to right.
class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  bool AtEnd() {
    SkipSpaces();
    return at_ == text_.size();
  }

  absl::StatusOr<WrittenCondition> Condition() {
    begin_ = at_;
    WrittenCondition condition;
    condition.field = Run(IsFieldCharacter);
    if (condition.field.empty()) return Wrong("has no field where one is expected");
    SkipSpaces();
    condition.op = Run([](char c) { return c == '=' || c == '!' || c == '<' || c == '>'; });
    if (condition.op.empty()) return Wrong("has no operator");
    SkipSpaces();
    WF_RETURN_IF_ERROR(Value(condition));
    return condition;
  }

  absl::Status And() {
    begin_ = at_;
    const bool spaced = at_ > 0 && text_[at_ - 1] == ' ';
    if (!spaced || Run([](char c) { return c != ' '; }) != "AND" || AtEnd()) {
      return Wrong("is not \" AND \" and another condition");
    }
    return absl::OkStatus();
  }

 private:
  void SkipSpaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  template <typename Accepts>
  std::string Run(Accepts accepts) {
    const size_t begin = at_;
    while (at_ < text_.size() && accepts(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  absl::Status Value(WrittenCondition& condition) {
    if (at_ < text_.size() && text_[at_] == '"') return QuotedValue(condition);
    condition.value = Run([](char c) { return c != ' '; });
    if (condition.value.empty()) return Wrong("has no value; \"\" is the empty text");
    if (condition.value.find('"') != std::string::npos) {
      return Wrong("has a double quote amid its value; put the whole value in double quotes");
    }
    TakePrefix(condition);
    return absl::OkStatus();
  }

  absl::Status QuotedValue(WrittenCondition& condition) {
    bool star_is_text = false;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        ++at_;
        if (!star_is_text) TakePrefix(condition);
        return absl::OkStatus();
      }
      star_is_text = text_[at_] == '\\' && at_ + 1 < text_.size();
      if (star_is_text) ++at_;
      condition.value += text_[at_];
    }
    return Wrong("has a value without its closing double quote");
  }

  static void TakePrefix(WrittenCondition& condition) {
    if (condition.value.empty() || condition.value.back() != '*') return;
    condition.value.pop_back();
    condition.prefix = true;
  }

  absl::Status Wrong(const std::string& what) const {
    return InvalidField(
        "filter", fmt::format("'{}' {}: {}", Shortened(text_.substr(begin_), 80), what, kSyntax));
  }

  const std::string& text_;
  size_t at_ = 0;
  size_t begin_ = 0;
};

const FilterField* FindField(const std::string& name, const std::vector<FilterField>& fields) {
  for (const FilterField& field : fields) {
    if (field.name == name) return &field;
    if (field.name.size() < 2 || field.name.substr(field.name.size() - 2) != ".*") continue;
    const std::string stem = field.name.substr(0, field.name.size() - 1);
    if (name.size() > stem.size() && name.rfind(stem, 0) == 0) return &field;
  }
  return nullptr;
}

std::string Written(const WrittenCondition& condition) {
  return Shortened(fmt::format("{}{}{}{}", condition.field, condition.op, condition.value,
                               condition.prefix ? "*" : ""),
                   80);
}

absl::Status Refused(const WrittenCondition& condition, const std::string& what) {
  return InvalidField("filter", fmt::format("'{}' {}", Written(condition), what));
}

absl::StatusOr<FilterValue> ValueOf(const WrittenCondition& condition, const FilterField& field) {
  const std::string& text = condition.value;
  if (condition.prefix && field.kind != FilterField::Kind::kText) {
    return Refused(condition, "ends in *; only texts are matched by a prefix");
  }
  switch (field.kind) {
    case FilterField::Kind::kText:
      return FilterValue(text);
    case FilterField::Kind::kNumber: {
      double number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) {
        return Refused(condition, "does not compare with a number");
      }
      return FilterValue(number);
    }
    case FilterField::Kind::kTime: {
      absl::Time time;
      std::string error;
      if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error) ||
          time == absl::InfiniteFuture() || time == absl::InfinitePast()) {
        return Refused(condition,
                       "does not compare with a time as in RFC 3339, say 2026-01-31T12:00:00Z");
      }
      return FilterValue(time);
    }
    case FilterField::Kind::kBool:
      if (text != "true" && text != "false") return Refused(condition, "is neither true nor false");
      return FilterValue(text == "true");
    case FilterField::Kind::kEnum:
      if (std::find(field.values.begin(), field.values.end(), text) == field.values.end()) {
        return Refused(condition,
                       fmt::format("has none of the values {}", fmt::join(field.values, ", ")));
      }
      return FilterValue(text);
  }
  WF_CHECK(false);
}

// Of two values of one kind.
template <typename T>
int Compare(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

int Compare(const FilterValue& a, const FilterValue& b) {
  WF_CHECK(a.index() == b.index());
  return std::visit(
      [&](const auto& value) { return Compare(value, std::get<std::decay_t<decltype(value)>>(b)); },
      a);
}

// A number that is none (a loss that diverged) compares with nothing.
bool IsNothing(const FilterValue& value) {
  const double* number = std::get_if<double>(&value);
  return std::holds_alternative<std::monostate>(value) ||
         (number != nullptr && std::isnan(*number));
}

}  // namespace

absl::StatusOr<Filter> Filter::Parse(const std::string& text,
                                     const std::vector<FilterField>& fields) {
  if (text.size() > kMaxBytes) {
    return InvalidField(
        "filter", fmt::format("has {} bytes; at most {} are allowed", text.size(), kMaxBytes));
  }
  Filter filter;
  Reader reader(text);
  while (!reader.AtEnd()) {
    if (!filter.conditions_.empty()) WF_RETURN_IF_ERROR(reader.And());
    if (filter.conditions_.size() == kMaxConditions) {
      return InvalidField(
          "filter", fmt::format("has more than {} conditions, which are allowed", kMaxConditions));
    }
    WF_ASSIGN_OR_RETURN(const WrittenCondition written, reader.Condition());
    const FilterField* field = FindField(written.field, fields);
    if (field == nullptr) {
      std::vector<std::string> names;
      for (const FilterField& known : fields) names.push_back(known.name);
      const std::string nearest = SuggestNearest(written.field, names);
      return Refused(written,
                     fmt::format("is about an unknown field; {}there are {}",
                                 nearest.empty() ? "" : nearest + "; ", fmt::join(names, ", ")));
    }
    const bool ordered =
        field->kind == FilterField::Kind::kNumber || field->kind == FilterField::Kind::kTime;
    const std::vector<std::string> ops = {"=", "!=", "<", "<=", ">", ">="};
    const auto op = std::find(ops.begin(), ops.end(), written.op);
    if (op == ops.end() || (!ordered && op - ops.begin() >= 2)) {
      return Refused(
          written,
          fmt::format("has the operator '{}'; allowed for {}: {}", written.op, written.field,
                      ordered ? fmt::format("{}", fmt::join(ops, ", ")) : "=, !="));
    }
    WF_ASSIGN_OR_RETURN(FilterValue value, ValueOf(written, *field));
    filter.conditions_.push_back(
        {written.field, static_cast<Op>(op - ops.begin()), std::move(value), written.prefix});
  }
  return filter;
}

bool Filter::Matches(const FilterLookup& lookup) const {
  return std::all_of(conditions_.begin(), conditions_.end(), [&](const Condition& condition) {
    const FilterValue value = lookup(condition.field);
    if (IsNothing(value)) return condition.op == Op::kNotEqual;
    int compared = 0;
    if (condition.prefix) {
      const std::string& prefix = std::get<std::string>(condition.value);
      compared = std::get<std::string>(value).compare(0, prefix.size(), prefix);
    } else {
      compared = Compare(value, condition.value);
    }
    switch (condition.op) {
      case Op::kEqual:
        return compared == 0;
      case Op::kNotEqual:
        return compared != 0;
      case Op::kLess:
        return compared < 0;
      case Op::kLessOrEqual:
        return compared <= 0;
      case Op::kGreater:
        return compared > 0;
      case Op::kGreaterOrEqual:
        return compared >= 0;
    }
    return false;
  });
}

std::optional<std::string> Filter::EqualTo(const std::string& field) const {
  for (const Condition& condition : conditions_) {
    if (condition.field != field || condition.op != Op::kEqual || condition.prefix) continue;
    if (const auto* text = std::get_if<std::string>(&condition.value)) return *text;
  }
  return std::nullopt;
}

absl::StatusOr<ListOrder> ListOrder::Parse(const std::string& text, const std::string& otherwise,
                                           const std::vector<std::string>& fields) {
  const std::string suffix = " desc";
  ListOrder order{.field = text.empty() ? otherwise : text};
  if (order.field.size() > suffix.size() &&
      order.field.substr(order.field.size() - suffix.size()) == suffix) {
    order.descending = true;
    order.field.resize(order.field.size() - suffix.size());
  }
  if (std::find(fields.begin(), fields.end(), order.field) == fields.end()) {
    return InvalidField("order_by", fmt::format("is '{}'; allowed: one of {}, with \" desc\" "
                                                "behind it for the other way",
                                                Shortened(text, 80), fmt::join(fields, ", ")));
  }
  return order;
}

bool ListOrder::Before(const FilterValue& a, const FilterValue& b) const {
  if (IsNothing(a) || IsNothing(b)) return !IsNothing(a) && IsNothing(b);
  // A forged page token may hold a value of another kind.
  if (a.index() != b.index()) return a.index() < b.index();
  return descending ? Compare(b, a) < 0 : Compare(a, b) < 0;
}

}  // namespace wavefield::coordinator
