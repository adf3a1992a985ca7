package expression

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs"
)

// What is wrong with a function, by name.
const (
	varies   = "its value differs from call to call or from task to task, and results must be repeatable"
	reaches  = "it reads or changes things outside the row"
	severals = "it gives several rows"
)

var forbidden = map[string]string{}

func init() {
	for why, names := range map[string]string{
		varies: `random uuid uuidv4 uuidv7 gen_random_uuid setseed now today current_date current_time current_timestamp
			localtime localtimestamp current_localtime current_localtimestamp get_current_time get_current_timestamp
			transaction_timestamp ago txid_current current_transaction_id current_connection_id current_query current_query_id
			stats vector_type`,
		reaches: `getenv current_setting getvariable nextval currval write_log error sleep_ms parse_duckdb_log_message
			current_database current_schema current_schemas current_catalog current_user current_role session_user user
			in_search_path version get_block_size json_serialize_sql json_deserialize_sql json_serialize_plan
			json_execute_serialized_sql obj_description shobj_description col_description format_type format_pg_type
			map_to_pg_oid glob query query_table cast_to_type`,
		severals: `unnest unlist regexp_split_to_table generate_subscripts`,
	} {
		for name := range strings.FieldsSeq(names) {
			forbidden[name] = why
		}
	}
}

// prefixes of functions that look outside.
var prefixes = []string{"pg_", "has_", "inet_", "read_", "duckdb_", "pragma_", "parquet_", "sniff_", "__internal_", "tidemill_"}

// aggregates are the engine's aggregate and window functions.
var aggregates = strings.Fields(`any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
	arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and bit_or bit_xor
	bitstring_agg bool_and bool_or corr count count_if count_star countif covar_pop covar_samp cume_dist dense_rank entropy
	favg fill first first_value fsum geomean geometric_mean group_concat histogram histogram_exact json_group_array
	json_group_object json_group_structure kahan_sum kurtosis kurtosis_pop lag last last_value lead list listagg mad max
	max_by mean median min min_by mode nth_value ntile percent_rank product quantile quantile_cont quantile_disc rank
	rank_dense regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
	reservoir_quantile row_number sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan
	var_pop var_samp variance wavg weighted_avg`)

// Refusal says why a function must not be called with so many arguments, or is empty.
func Refusal(name string, arguments int) string {
	lower := strings.ToLower(name)
	why, found := forbidden[lower]
	switch {
	case found:
	case slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(lower, p) }):
		why = reaches
		if lower == "has_any" || lower == "has_all" {
			return ""
		}
	case lower == "age" && arguments < 2:
		why = varies
	case slices.Contains(aggregates, lower):
		return fmt.Sprintf("function %q is an aggregate or window function: only measures aggregate, by their own names", name)
	default:
		return ""
	}
	return fmt.Sprintf("function %q is not allowed: %s", name, why)
}

// Clock says whether an unquoted name without parentheses is such a function when no column has that name.
func Clock(name string) bool {
	switch strings.ToLower(name) {
	case "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today",
		"current_user", "current_role", "current_catalog", "current_schema", "session_user", "user":
		return true
	}
	return false
}

// Catalog is the names of the engine's functions.
type Catalog struct {
	scalar    []string // scalar functions and macros, sorted
	aggregate []string // aggregate functions, sorted
	table     []string // table functions, sorted
}

// ReadCatalog asks the engine, which takes some 30 ms.
func ReadCatalog(ctx context.Context, s *engine.Session) (*Catalog, error) {
	c := &Catalog{}
	err := s.Query(ctx, "SELECT DISTINCT function_name, function_type FROM duckdb_functions() ORDER BY 1", func(values []driver.Value) error {
		name, kind := fmt.Sprint(values[0]), fmt.Sprint(values[1])
		switch kind {
		case "scalar", "macro":
			c.scalar = append(c.scalar, name)
		case "aggregate":
			c.aggregate = append(c.aggregate, name)
		case "table", "table_macro":
			c.table = append(c.table, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the engine's functions: %w", err)
	}
	c.scalar = slices.Compact(c.scalar)
	return c, nil
}

// Unknown is a [*Problem] if e calls a function that is not a scalar one of the engine's.
func (c *Catalog) Unknown(e *Expression) error {
	for _, name := range e.Functions {
		lower := strings.ToLower(name)
		if _, found := slices.BinarySearch(c.scalar, lower); found {
			continue
		}
		if _, found := slices.BinarySearch(c.table, lower); found {
			return problem("function %q is a table function: only scalar functions are allowed", name)
		}
		if near := jobs.Suggest(lower, c.scalar); near != "" {
			return problem("unknown function %q; did you mean %q?", name, near)
		}
		return problem("unknown function %q", name)
	}
	return nil
}

// UnknownIn is a [*Problem] if a statement calls a function that the engine does not have.
func (c *Catalog) UnknownIn(st *Statement) error {
	for _, name := range st.Functions {
		lower := strings.ToLower(name)
		_, scalar := slices.BinarySearch(c.scalar, lower)
		_, aggregate := slices.BinarySearch(c.aggregate, lower)
		if scalar || aggregate || slices.Contains(aggregates, lower) || slices.Contains(tableFunctions, lower) || slices.Contains(rowFunctions, lower) {
			continue
		}
		if near := jobs.Suggest(lower, slices.Concat(c.scalar, c.aggregate)); near != "" {
			return problem("unknown function %q; did you mean %q?", name, near)
		}
		return problem("unknown function %q", name)
	}
	return nil
}
