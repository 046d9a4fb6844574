"""The planted bugs with the check that kills each, and the correct implementations that all must pass."""

from dataclasses import dataclass

from suites.numerics.subject import Subject


@dataclass(frozen=True)
class Mutant:
    """A planted bug in ``suites/numerics/mutants``, the check that must refuse it, and what it claims."""

    name: str
    killer: str
    codec: str = "int8_token"
    algorithm: str = "one_shot"

    @property
    def subject(self) -> Subject:
        """The mutant as the suite sees it."""
        module = f"suites.numerics.mutants.{self.name}"
        return Subject(implementation=f"{module}:all_reduce", codec=self.codec, algorithm=self.algorithm)


GROUP, TWO = "int8_group128", "two_shot"

MUTANTS = (
    Mutant("round_truncates", "pointwise_bound"),
    Mutant("round_floors", "unbiased"),
    Mutant("round_ties_away", "ties_to_even"),
    Mutant("round_ties_up", "ties_to_even"),
    Mutant("round_leans", "unbiased"),
    Mutant("round_dithers", "repeatable"),
    Mutant("step_leans", "representable"),
    Mutant("scale_by_128", "pointwise_bound"),
    Mutant("scale_by_126", "one_rank_alone"),
    Mutant("scale_by_123", "one_rank_alone"),
    Mutant("scale_by_127_5", "odd"),
    Mutant("scale_in_bf16", "bf16_arithmetic"),
    Mutant("scale_in_fp16", "one_rank_alone"),
    Mutant("scale_floored", "amplitudes"),
    Mutant("scale_plus_epsilon", "amplitudes"),
    Mutant("small_values_flushed", "one_rank_alone"),
    Mutant("scale_per_tensor", "pointwise_bound"),
    Mutant("scale_of_first_row", "pointwise_bound"),
    Mutant("scale_per_column", "pointwise_bound"),
    Mutant("amax_signed", "pointwise_bound"),
    Mutant("amax_without_last_column", "shapes"),
    Mutant("amax_clips_outliers", "beside_spikes"),
    Mutant("amax_shared_by_ranks", "bytes_on_the_wire"),
    Mutant("clamp_at_120", "pointwise_bound"),
    Mutant("wraps_around", "pointwise_bound"),
    Mutant("scales_swapped", "pointwise_bound"),
    Mutant("rank_missing", "one_rank_alone"),
    Mutant("own_rank_twice", "ranks_agree"),
    Mutant("mean_of_ranks", "representable"),
    Mutant("own_message_unquantized", "ranks_agree"),
    Mutant("own_rank_first", "ranks_agree"),
    Mutant("first_rank_weighs_more", "permuted"),
    Mutant("adds_in_bf16", "cancellation"),
    Mutant("adds_in_fp16", "amplitudes"),
    Mutant("products_in_bf16", "bf16_arithmetic"),
    Mutant("result_truncated", "representable"),
    Mutant("result_by_way_of_fp16", "amplitudes"),
    Mutant("result_in_fp32", "shapes"),
    Mutant("result_flat", "shapes"),
    Mutant("buffer_stale", "fresh"),
    Mutant("scales_stale", "fresh"),
    Mutant("result_buffer_shared", "fresh"),
    Mutant("input_overwritten", "input_untouched"),
    Mutant("input_overwritten_in_fp32", "input_untouched"),
    Mutant("strides_ignored", "layouts"),
    Mutant("scales_of_first_dimension_only", "shapes"),
    Mutant("last_odd_row_lost", "shapes"),
    Mutant("long_messages_cut", "shapes"),
    Mutant("zero_rows_nan", "zero_rows"),
    Mutant("nan_swallowed", "nonfinite"),
    Mutant("infinity_clipped", "nonfinite"),
    Mutant("nan_spreads", "nonfinite"),
    Mutant("nan_on_own_rank_only", "nonfinite"),
    Mutant("plain_in_disguise", "predicted_noise"),
    Mutant("plain_for_short_messages", "bytes_on_the_wire"),
    Mutant("plain_after_quantizing", "bytes_on_the_wire"),
    Mutant("sends_double_scales", "bytes_on_the_wire"),
    Mutant("sends_twice", "bytes_on_the_wire"),
    Mutant("remainder_takes_previous_scale", "pointwise_bound", codec=GROUP),
    Mutant("remainder_dropped", "shapes", codec=GROUP),
    Mutant("remainder_padded_with_ones", "amplitudes", codec=GROUP),
    Mutant("groups_across_rows", "shapes", codec=GROUP),
    Mutant("groups_of_256", "predicted_noise", codec=GROUP),
    Mutant("own_stripe_unquantized", "ranks_agree", algorithm=TWO),
    Mutant("stripes_out_of_order", "pointwise_bound", algorithm=TWO),
    Mutant("last_stripe_lost", "shapes", algorithm=TWO),
    Mutant("stripe_sum_in_bf16", "cancellation", algorithm=TWO),
    Mutant("second_encoding_skipped", "bytes_on_the_wire", algorithm=TWO),
    Mutant("second_encoding_flushes", "pointwise_bound", algorithm=TWO),
    Mutant("fp8_is_int8", "predicted_noise", codec="fp8_e4m3_token"),
    Mutant("fp8_e5m2", "pointwise_bound", codec="fp8_e4m3_token"),
    Mutant("fp8_overflows", "pointwise_bound", codec="fp8_e4m3_token"),
    Mutant("fp8_scale_by_440", "one_rank_alone", codec="fp8_e4m3_token"),
    Mutant("fp8_subnormals_flushed", "beside_spikes", codec="fp8_e4m3_token"),
    Mutant("none_cut_off", "predicted_noise", codec="none"),
    Mutant("int4_nibbles_swapped", "pointwise_bound", codec="int4_group32"),
    Mutant("int4_sign_lost", "one_rank_alone", codec="int4_group32"),
    Mutant("int4_odd_column_lost", "shapes", codec="int4_group32"),
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
"""Planted bugs whose SQNR over two ranks lies within the tolerance of the prediction: another check kills them."""

GATE_MUTANTS = (
    "gate_decode_compressed",
    "gate_idle_compressed",
    "gate_without_mode",
    "gate_flag_ignored",
    "gate_single_rank",
    "gate_mixed_plain",
    "gate_never",
)

EQUIVALENTS = {
    name: Subject(implementation=f"suites.numerics.equivalents.{name}:all_reduce", codec=codec, algorithm=way)
    for name, codec, way in (
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
