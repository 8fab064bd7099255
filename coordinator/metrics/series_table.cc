#include "coordinator/metrics/series_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "core/base/check.h"

namespace wavefield::coordinator {
namespace {

std::string TextOf(SeriesLabels labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text.append(name).append("=\"");
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '"';
  }
  return text;
}

template <typename Number>
void AppendNumber(std::string& page, Number number) {
  char digits[32];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  page.append(digits, end);
}

void AppendName(std::string& page, const char* name, const char* suffix,
                const std::string& labels) {
  page.append(name).append(suffix);
  if (!labels.empty()) page.append("{").append(labels).append("}");
  page += ' ';
}

const char* NameOf(Metric::Type type) {
  switch (type) {
    case Metric::Type::kGauge:
      return "gauge";
    case Metric::Type::kCounter:
      return "counter";
    case Metric::Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

}  // namespace

std::string SeriesTable::Text() const {
  std::lock_guard lock(mutex_);
  // Each family's lines stand together, whichever groups they are of.
  std::map<std::string_view, std::string> families;
  for (const auto& [labels, group] : groups_) {
    std::string* lines = nullptr;
    std::string_view name;
    for (const auto& [key, series] : group->series_) {
      if (key.first != name) {
        name = key.first;
        lines = &families[name];
        if (lines->empty()) {
          *lines = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, series.metric->help,
                               NameOf(series.metric->type));
        }
      }
      series.Print(key.second, *lines);
    }
  }
  size_t bytes = 0;
  for (const auto& [name, lines] : families) bytes += lines.size();
  std::string page;
  page.reserve(bytes);
  for (const auto& [name, lines] : families) page += lines;
  return page;
}

int64_t SeriesTable::shown() const {
  std::lock_guard lock(mutex_);
  return shown_;
}

int64_t SeriesTable::refused() const {
  std::lock_guard lock(mutex_);
  return refused_;
}

void SeriesGroup::Series::Print(const std::string& labels, std::string& page) const {
  if (metric->type != Metric::Type::kHistogram) {
    AppendName(page, metric->name, "", labels);
    AppendNumber(page, value);
    page += '\n';
    return;
  }
  uint64_t count = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    count += buckets[i];
    page.append(metric->name).append("_bucket{").append(labels);
    page.append(labels.empty() ? "le=\"" : ",le=\"");
    if (i < metric->buckets.size()) {
      AppendNumber(page, metric->buckets[i]);
    } else {
      page += "+Inf";
    }
    page += "\"} ";
    AppendNumber(page, count);
    page += '\n';
  }
  AppendName(page, metric->name, "_sum", labels);
  AppendNumber(page, value);
  page += '\n';
  AppendName(page, metric->name, "_count", labels);
  AppendNumber(page, count);
  page += '\n';
}

SeriesGroup::SeriesGroup(SeriesTable& table, SeriesLabels labels)
    : table_(table), labels_(TextOf(labels)) {
  std::lock_guard lock(table_.mutex_);
  const bool added = table_.groups_.emplace(labels_, this).second;
  WF_CHECK(added);
}

SeriesGroup::~SeriesGroup() {
  std::lock_guard lock(table_.mutex_);
  for (const auto& [key, series] : series_) Forget(series);
  table_.groups_.erase(labels_);
}

SeriesGroup::Key SeriesGroup::KeyOf(const Metric& metric, SeriesLabels more) const {
  std::string labels = labels_;
  if (!labels.empty() && more.size() > 0) labels += ',';
  if (more.size() > 0) labels += TextOf(more);
  return {metric.name, std::move(labels)};
}

SeriesGroup::Series* SeriesGroup::Find(const Metric& metric, SeriesLabels more) {
  Key key = KeyOf(metric, more);
  auto found = series_.find(key);
  if (found == series_.end()) {
    Series series{.metric = &metric};
    if (metric.type == Metric::Type::kHistogram) series.buckets.resize(metric.buckets.size() + 1);
    const int64_t size = labels_.empty() ? 0 : series.size();
    if (table_.shown_ + size > table_.max_series_) {
      ++table_.refused_;
      return nullptr;
    }
    table_.shown_ += size;
    found = series_.emplace(std::move(key), std::move(series)).first;
  }
  found->second.set = true;
  return &found->second;
}

void SeriesGroup::Forget(const Series& series) {
  if (!labels_.empty()) table_.shown_ -= series.size();
}

void SeriesGroup::Set(const Metric& gauge, double value, SeriesLabels more) {
  if (!std::isfinite(value)) return;
  std::lock_guard lock(table_.mutex_);
  if (Series* series = Find(gauge, more)) series->value = value;
}

void SeriesGroup::Add(const Metric& counter, double amount, SeriesLabels more) {
  if (!std::isfinite(amount) || amount < 0) return;
  std::lock_guard lock(table_.mutex_);
  if (Series* series = Find(counter, more)) series->value += amount;
}

void SeriesGroup::RaiseTo(const Metric& counter, double value, SeriesLabels more) {
  if (!std::isfinite(value)) return;
  std::lock_guard lock(table_.mutex_);
  if (Series* series = Find(counter, more)) series->value = std::max(series->value, value);
}

void SeriesGroup::Observe(const Metric& histogram, double value, SeriesLabels more) {
  if (!std::isfinite(value)) return;
  std::lock_guard lock(table_.mutex_);
  Series* series = Find(histogram, more);
  if (series == nullptr) return;
  const auto& bounds = histogram.buckets;
  ++series->buckets[static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) -
                                        bounds.begin())];
  series->value += value;
}

void SeriesGroup::Remove(const Metric& metric, SeriesLabels more) {
  std::lock_guard lock(table_.mutex_);
  const auto found = series_.find(KeyOf(metric, more));
  if (found == series_.end()) return;
  Forget(found->second);
  series_.erase(found);
}

void SeriesGroup::Sweep() {
  std::lock_guard lock(table_.mutex_);
  for (auto entry = series_.begin(); entry != series_.end();) {
    if (std::exchange(entry->second.set, false)) {
      ++entry;
    } else {
      Forget(entry->second);
      entry = series_.erase(entry);
    }
  }
}

}  // namespace wavefield::coordinator
