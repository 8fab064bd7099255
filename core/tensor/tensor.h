#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/base/check.h"

namespace wavefield {

enum class DType : uint8_t { kFloat32, kBFloat16, kInt32 };

// Bytes of one element.
size_t SizeOf(DType dtype);
// "fp32", "bf16" or "int32".
std::string NameOf(DType dtype);

// Up to four dimensions, outermost first.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t elements() const;
  std::string ToString() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, 4> dims_{};
  int rank_ = 0;
};

// A view of dense row-major memory that someone else owns (an Arena, a ParameterBuffer). Cheap to
// copy. A default-constructed tensor is empty and means "absent" where a contract allows that.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  Shape shape;

  bool empty() const { return data == nullptr; }
  int64_t elements() const { return shape.elements(); }
  size_t bytes() const { return static_cast<size_t>(elements()) * SizeOf(dtype); }
  std::string ToString() const;  // "[2, 3] of fp32"

  // Abort when the elements are of another type.
  float* f32() const {
    WF_CHECK_MSG(dtype == DType::kFloat32, ToString() + ", required is fp32");
    return static_cast<float*>(data);
  }
  int32_t* i32() const {
    WF_CHECK_MSG(dtype == DType::kInt32, ToString() + ", required is int32");
    return static_cast<int32_t*>(data);
  }
  // The same memory under another shape. REQUIRES: the same number of elements.
  Tensor Reshape(Shape to) const;
  // Rows [begin, end) of the outermost dimension.
  Tensor Rows(int64_t begin, int64_t end) const;
};

}  // namespace wavefield
