#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/metrics/declarations.h"

namespace wavefield::coordinator {

// Labels of a series, in the order in which they are shown. Values may be any UTF-8.
using SeriesLabels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class SeriesGroup;

// The series of jobs, workers and the cluster, ready to be printed: a scrape of tens of thousands
// costs little more than writing their values, since their labels are text already. At most
// `max_series` series of groups that have labels: values of further ones are refused and counted.
// Series of a histogram count one by one. Thread-safe, with its groups: Text() holds the one lock
// while it writes, and a group's values wait for it, tens of milliseconds where there are so many.
class SeriesTable {
 public:
  explicit SeriesTable(int64_t max_series) : max_series_(max_series) {}
  SeriesTable(const SeriesTable&) = delete;
  SeriesTable& operator=(const SeriesTable&) = delete;

  // All series in Prometheus's text format, families in order of names.
  std::string Text() const;
  // Series of groups that have labels, and how many values were refused so far.
  int64_t shown() const;
  int64_t refused() const;

 private:
  friend class SeriesGroup;

  const int64_t max_series_;
  mutable std::mutex mutex_;
  int64_t shown_ = 0;
  int64_t refused_ = 0;
  std::map<std::string, SeriesGroup*> groups_;  // by their labels
};

// The series of one job or worker, which vanish with it. A series begins with its first value.
class SeriesGroup {
 public:
  // `labels`: all series of the group have these; no two groups have the same. Empty: the cluster's
  // own, which are not counted. The table outlives the group.
  SeriesGroup(SeriesTable& table, SeriesLabels labels);
  ~SeriesGroup();
  SeriesGroup(const SeriesGroup&) = delete;
  SeriesGroup& operator=(const SeriesGroup&) = delete;

  // What is not finite leaves a series as it is.
  void Set(const Metric& gauge, double value, SeriesLabels more = {});
  void Add(const Metric& counter, double amount, SeriesLabels more = {});
  void RaiseTo(const Metric& counter, double value, SeriesLabels more = {});
  void Observe(const Metric& histogram, double value, SeriesLabels more = {});
  void Remove(const Metric& metric, SeriesLabels more = {});

  // For gauges that are set anew at each scrape: Sweep() removes those that were not set since the
  // Sweep() before.
  void Sweep();

 private:
  friend class SeriesTable;

  struct Series {
    const Metric* metric = nullptr;
    double value = 0;               // of a histogram: the sum
    std::vector<uint64_t> buckets;  // of a histogram, the last without a bound
    bool set = false;               // since the last Sweep()

    int64_t size() const {
      return metric->type == Metric::Type::kHistogram ? std::ssize(buckets) + 2 : 1;
    }
    void Print(const std::string& labels, std::string& page) const;
  };
  using Key = std::pair<std::string_view, std::string>;  // the metric's name, all labels

  Key KeyOf(const Metric& metric, SeriesLabels more) const;
  // Null: there is no room for it. REQUIRES the table's lock.
  Series* Find(const Metric& metric, SeriesLabels more);
  void Forget(const Series& series);

  SeriesTable& table_;
  const std::string labels_;
  std::map<Key, Series> series_;
};

}  // namespace wavefield::coordinator
