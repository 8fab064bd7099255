#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace wavefield::coordinator {

// A field that list requests may name.
struct FilterField {
  enum class Kind { kText, kNumber, kTime, kBool, kEnum };
  std::string name;  // "step"; "labels.*" stands for every "labels.KEY"
  Kind kind = Kind::kText;
  std::vector<std::string> values = {};  // of kEnum
};

// What a resource has in a field: nothing, text (of kText and kEnum), a number, a time, a truth.
using FilterValue = std::variant<std::monostate, std::string, double, absl::Time, bool>;
using FilterLookup = std::function<FilterValue(const std::string& field)>;

// The conditions of a list request: "FIELD OP VALUE", joined by " AND ". OP is =, != for all kinds,
// and
// <, <=, >, >= for numbers and times. Of text, a value that ends in * matches a prefix; a value
// with spaces stands in double quotes, in which \ escapes. A resource that has nothing in a field
// matches
// != alone. Immutable.
class Filter {
 public:
  // INVALID_ARGUMENT about the field "filter" that names the condition, and what is allowed. At
  // most 4 KiB and 32 conditions.
  static absl::StatusOr<Filter> Parse(const std::string& text,
                                      const std::vector<FilterField>& fields);

  bool empty() const { return conditions_.empty(); }
  bool Matches(const FilterLookup& lookup) const;
  // The text that whatever matches has in `field`, if a condition says so.
  std::optional<std::string> EqualTo(const std::string& field) const;

 private:
  enum class Op { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  struct Condition {
    std::string field;
    Op op;
    FilterValue value;
    bool prefix = false;
  };
  std::vector<Condition> conditions_;
};

// "FIELD" or "FIELD desc".
struct ListOrder {
  std::string field;
  bool descending = false;

  // `text`, or `otherwise` if that is empty. INVALID_ARGUMENT about the field "order_by" names what
  // is allowed.
  static absl::StatusOr<ListOrder> Parse(const std::string& text, const std::string& otherwise,
                                         const std::vector<std::string>& fields);
  // True if a resource with `a` comes before one with `b`. Those with nothing come last either way.
  bool Before(const FilterValue& a, const FilterValue& b) const;
};

}  // namespace wavefield::coordinator
