"""What TFLite's schema says (tensorflow/compiler/mlir/lite/schema/schema.fbs): operators by number, options by place.

Options are written `name:code=default`, one for each field in the schema's order; `-` is a field that is not read.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

IDENTIFIER = b"TFL3"
VERSION = 3
# BuiltinOperator, from 0 on
_OPERATORS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP
    FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
    LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX
    SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
    UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE
    UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX
    DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER
    GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL
    LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND
    LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
    RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF
    WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
    HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
    READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
    GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
    STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
    STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
    STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
    STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
    STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
    STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE
    STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT
    STABLEHLO_CASE
"""
OPERATORS = tuple(_OPERATORS.split())
# TensorType
DTYPES = {
    0: ir.DataType.FLOAT,
    1: ir.DataType.FLOAT16,
    2: ir.DataType.INT32,
    3: ir.DataType.UINT8,
    4: ir.DataType.INT64,
    5: ir.DataType.STRING,
    6: ir.DataType.BOOL,
    7: ir.DataType.INT16,
    8: ir.DataType.COMPLEX64,
    9: ir.DataType.INT8,
    10: ir.DataType.DOUBLE,
    11: ir.DataType.COMPLEX128,
    12: ir.DataType.UINT64,
    15: ir.DataType.UINT32,
    16: ir.DataType.UINT16,
    17: ir.DataType.INT4,
    18: ir.DataType.BFLOAT16,
    19: ir.DataType.INT2,
    20: ir.DataType.UINT4,
}
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")
MIRRORS = ("REFLECT", "SYMMETRIC")
_OPTIONS = {
    "ADD SUB MUL DIV L2_NORMALIZATION": "activation:b",
    "ARG_MAX ARG_MIN": "output_type:b",
    "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D": "padding:b stride_w:i stride_h:i filter_w:i filter_h:i activation:b",
    "BATCH_MATMUL": "adj_x:? adj_y:? asymmetric:?",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "activation:b cell_clip:f proj_clip:f merge:? time_major:?=1 asymmetric:?",
    "BIDIRECTIONAL_SEQUENCE_RNN": "time_major:? activation:b merge:? asymmetric:?",
    "BUCKETIZE": "boundaries:f[]",
    "CALL": "subgraph:I",
    "CALL_ONCE": "subgraph:i",
    "CAST": "in_type:b out_type:b",
    "CONCATENATION": "axis:i activation:b",
    "CONV_2D": "padding:b stride_w:i stride_h:i activation:b dilation_w:i=1 dilation_h:i=1",
    "CONV_3D CONV_3D_TRANSPOSE": "padding:b stride_d:i stride_w:i stride_h:i activation:b "
    "dilation_d:i=1 dilation_w:i=1 dilation_h:i=1",
    "CUMSUM": "exclusive:? reverse:?",
    "DEPTHWISE_CONV_2D": "padding:b stride_w:i stride_h:i multiplier:i activation:b dilation_w:i=1 dilation_h:i=1",
    "DEPTH_TO_SPACE SPACE_TO_DEPTH": "block:i",
    "FAKE_QUANT": "min:f max:f bits:i narrow:?",
    "FULLY_CONNECTED": "activation:b weights_format:b keep_num_dims:? asymmetric:?",
    "GATHER": "axis:i batch_dims:i",
    "GELU": "approximate:?",
    "IF": "then:i else:i",
    "LEAKY_RELU": "alpha:f",
    "LOCAL_RESPONSE_NORMALIZATION": "radius:i bias:f alpha:f beta:f",
    "LSTM": "activation:b cell_clip:f proj_clip:f kernel:b asymmetric:?",
    "MIRROR_PAD": "mode:b",
    "ONE_HOT": "axis:i",
    "PACK": "count:i axis:i",
    "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL": "keep:?",
    "RESHAPE": "shape:i[]",
    "RESIZE_BILINEAR": "- - align_corners:? half_pixel:?",
    "RESIZE_NEAREST_NEIGHBOR": "align_corners:? half_pixel:?",
    "REVERSE_SEQUENCE": "seq:i batch:i",
    "RNN": "activation:b asymmetric:?",
    "SHAPE": "out_type:b",
    "SOFTMAX": "beta:f",
    "SPLIT SPLIT_V": "count:i",
    "SQUEEZE": "axes:i[]",
    "STRIDED_SLICE": "begin:i end:i ellipsis:i new_axis:i shrink_axis:i offset:?",
    "SVDF": "rank:i activation:b asymmetric:?",
    "TRANSPOSE_CONV": "padding:b stride_w:i stride_h:i activation:b",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "activation:b cell_clip:f proj_clip:f time_major:? asymmetric:? diagonal:?",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "time_major:? activation:b asymmetric:?",
    "UNPACK": "count:i axis:i",
    "WHILE": "cond:i body:i",
}


def _schema(text: str) -> list[tuple[str, str, Any]]:
    fields: list[tuple[str, str, Any]] = []
    for word in text.split():
        name, _, rest = word.partition(":")
        code, _, default = rest.partition("=")
        fields.append((name, code, int(default or 0)))
    return fields


OPTIONS = {name: _schema(text) for names, text in _OPTIONS.items() for name in names.split()}
