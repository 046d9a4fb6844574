"""The planted bugs with the promise that kills each, and the correct implementations that all must pass."""

from dataclasses import dataclass

from suites.numerics.trial.subject import Subject


@dataclass(frozen=True)
class Bug:
    """A planted bug: its module and name in ``planted/bugs``, the promise that must refuse it, and what it claims."""

    module: str
    name: str
    killer: str
    codec: str = "int8_token"
    algorithm: str = "one_shot"

    @property
    def subject(self) -> Subject:
        """The bug as the suite sees it."""
        implementation = f"suites.numerics.planted.bugs.{self.module}:{self.name}"
        return Subject(implementation=implementation, codec=self.codec, algorithm=self.algorithm)


GROUP, TWO = "int8_group128", "two_shot"

BUGS = (
    Bug("rounding", "round_truncates", "pointwise_bound"),
    Bug("rounding", "round_floors", "unbiased"),
    Bug("rounding", "round_ties_away", "ties_to_even"),
    Bug("rounding", "round_ties_up", "ties_to_even"),
    Bug("rounding", "round_leans", "unbiased"),
    Bug("rounding", "round_dithers", "repeatable"),
    Bug("rounding", "step_leans", "representable"),
    Bug("scales", "scale_by_128", "pointwise_bound"),
    Bug("scales", "scale_by_126", "one_rank_alone"),
    Bug("scales", "scale_by_123", "one_rank_alone"),
    Bug("scales", "scale_by_127_5", "odd"),
    Bug("scales", "scale_in_bf16", "bf16_arithmetic"),
    Bug("scales", "scale_in_fp16", "one_rank_alone"),
    Bug("scales", "scale_floored", "amplitudes"),
    Bug("scales", "scale_plus_epsilon", "amplitudes"),
    Bug("scales", "small_values_flushed", "one_rank_alone"),
    Bug("scales", "scale_per_tensor", "pointwise_bound"),
    Bug("scales", "scale_of_first_row", "pointwise_bound"),
    Bug("scales", "scale_per_column", "pointwise_bound"),
    Bug("scales", "amax_signed", "pointwise_bound"),
    Bug("scales", "amax_without_last_column", "shapes"),
    Bug("scales", "amax_clips_outliers", "beside_spikes"),
    Bug("scales", "amax_shared_by_ranks", "bytes_on_the_wire"),
    Bug("scales", "clamp_at_120", "pointwise_bound"),
    Bug("scales", "wraps_around", "pointwise_bound"),
    Bug("scales", "scales_swapped", "pointwise_bound"),
    Bug("sums", "rank_missing", "one_rank_alone"),
    Bug("sums", "own_rank_twice", "ranks_agree"),
    Bug("sums", "mean_of_ranks", "representable"),
    Bug("sums", "own_message_unquantized", "ranks_agree"),
    Bug("sums", "own_rank_first", "ranks_agree"),
    Bug("sums", "first_rank_weighs_more", "permuted"),
    Bug("sums", "adds_in_bf16", "cancellation"),
    Bug("sums", "adds_in_fp16", "amplitudes"),
    Bug("sums", "products_in_bf16", "bf16_arithmetic"),
    Bug("sums", "result_truncated", "representable"),
    Bug("sums", "result_by_way_of_fp16", "amplitudes"),
    Bug("conduct", "result_in_fp32", "shapes"),
    Bug("conduct", "result_flat", "shapes"),
    Bug("conduct", "buffer_stale", "fresh"),
    Bug("scales", "scales_stale", "fresh"),
    Bug("conduct", "result_buffer_shared", "fresh"),
    Bug("conduct", "input_overwritten", "input_untouched"),
    Bug("conduct", "input_overwritten_in_fp32", "input_untouched"),
    Bug("conduct", "strides_ignored", "layouts"),
    Bug("scales", "scales_of_first_dimension_only", "shapes"),
    Bug("conduct", "last_odd_row_lost", "shapes"),
    Bug("conduct", "long_messages_cut", "shapes"),
    Bug("edges", "zero_rows_nan", "zero_rows"),
    Bug("edges", "nan_swallowed", "nonfinite"),
    Bug("edges", "infinity_clipped", "nonfinite"),
    Bug("edges", "nan_spreads", "nonfinite"),
    Bug("edges", "nan_on_own_rank_only", "nonfinite"),
    Bug("wire", "plain_in_disguise", "predicted_noise"),
    Bug("wire", "plain_for_short_messages", "bytes_on_the_wire"),
    Bug("wire", "plain_after_quantizing", "bytes_on_the_wire"),
    Bug("wire", "sends_double_scales", "bytes_on_the_wire"),
    Bug("wire", "sends_twice", "bytes_on_the_wire"),
    Bug("groups", "remainder_takes_previous_scale", "pointwise_bound", codec=GROUP),
    Bug("groups", "remainder_dropped", "shapes", codec=GROUP),
    Bug("groups", "remainder_padded_with_ones", "amplitudes", codec=GROUP),
    Bug("groups", "groups_across_rows", "shapes", codec=GROUP),
    Bug("groups", "groups_of_256", "predicted_noise", codec=GROUP),
    Bug("two_shot", "own_stripe_unquantized", "ranks_agree", algorithm=TWO),
    Bug("two_shot", "stripes_out_of_order", "pointwise_bound", algorithm=TWO),
    Bug("two_shot", "last_stripe_lost", "shapes", algorithm=TWO),
    Bug("two_shot", "stripe_sum_in_bf16", "cancellation", algorithm=TWO),
    Bug("two_shot", "second_encoding_skipped", "bytes_on_the_wire", algorithm=TWO),
    Bug("two_shot", "second_encoding_flushes", "pointwise_bound", algorithm=TWO),
    Bug("other_codecs", "fp8_is_int8", "predicted_noise", codec="fp8_e4m3_token"),
    Bug("other_codecs", "fp8_e5m2", "pointwise_bound", codec="fp8_e4m3_token"),
    Bug("other_codecs", "fp8_overflows", "pointwise_bound", codec="fp8_e4m3_token"),
    Bug("other_codecs", "fp8_scale_by_440", "one_rank_alone", codec="fp8_e4m3_token"),
    Bug("other_codecs", "fp8_subnormals_flushed", "beside_spikes", codec="fp8_e4m3_token"),
    Bug("other_codecs", "none_cut_off", "predicted_noise", codec="none"),
    Bug("other_codecs", "int4_nibbles_swapped", "pointwise_bound", codec="int4_group32"),
    Bug("other_codecs", "int4_sign_lost", "one_rank_alone", codec="int4_group32"),
    Bug("other_codecs", "int4_odd_column_lost", "shapes", codec="int4_group32"),
)

TOO_SMALL_FOR_THE_SQNR = (
    "scale_by_123",
    "scale_by_126",
    "scale_by_127_5",
    "small_values_flushed",
    "round_ties_up",
    "second_encoding_flushes",
    "fp8_scale_by_440",
    "fp8_subnormals_flushed",
)
"""Planted bugs whose SQNR over two ranks lies within the tolerance of the prediction: another promise kills them."""

GATE_BUGS = (
    "gate_decode_compressed",
    "gate_idle_compressed",
    "gate_without_mode",
    "gate_flag_ignored",
    "gate_single_rank",
    "gate_mixed_plain",
    "gate_never",
)
"""Functions of ``planted/bugs/gate.py``."""

CORRECT = {
    name: Subject(implementation=f"suites.numerics.planted.correct:{name}", codec=codec, algorithm=algorithm)
    for name, codec, algorithm in (
        ("plain_steps", "int8_token", "one_shot"),
        ("sums_backwards", "int8_token", "one_shot"),
        ("sums_in_double", "int8_token", "one_shot"),
        ("reciprocal_scale", "int8_token", "one_shot"),
        ("one_message", "int8_token", "one_shot"),
        ("staged_in_place", "int8_token", "one_shot"),
        ("point_to_point", "int8_token", "one_shot"),
        ("row_by_row", "int8_token", "one_shot"),
        ("grouped", "int8_group128", "one_shot"),
        ("two_shot", "int8_token", "two_shot"),
    )
}
