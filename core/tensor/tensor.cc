#include "core/tensor/tensor.h"

namespace wavefield {

size_t SizeOf(DType dtype) { return dtype == DType::kBFloat16 ? 2 : 4; }

std::string NameOf(DType dtype) {
  return dtype == DType::kFloat32 ? "fp32" : dtype == DType::kBFloat16 ? "bf16" : "int32";
}

Shape::Shape(std::initializer_list<int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  WF_CHECK(dims.size() <= dims_.size());
  int i = 0;
  for (const int64_t dim : dims) dims_[i++] = dim;
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= dims_[i];
  return product;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(dims_[i]);
  return text + "]";
}

std::string Tensor::ToString() const { return shape.ToString() + " of " + NameOf(dtype); }

Tensor Tensor::Reshape(Shape to) const {
  WF_CHECK_MSG(to.elements() == elements(), shape.ToString() + " to " + to.ToString());
  return {data, dtype, to};
}

Tensor Tensor::Rows(int64_t begin, int64_t end) const {
  WF_CHECK(shape.rank() > 0 && 0 <= begin && begin <= end && end <= shape[0]);
  const int64_t row = shape[0] == 0 ? 0 : elements() / shape[0];
  Tensor rows = *this;
  rows.data = static_cast<char*>(data) + begin * row * static_cast<int64_t>(SizeOf(dtype));
  switch (shape.rank()) {
    case 1:
      rows.shape = {end - begin};
      break;
    case 2:
      rows.shape = {end - begin, shape[1]};
      break;
    case 3:
      rows.shape = {end - begin, shape[1], shape[2]};
      break;
    default:
      rows.shape = {end - begin, shape[1], shape[2], shape[3]};
  }
  return rows;
}

}  // namespace wavefield
