package describe

// features are the block's list: all that the specs of this build's kinds can need, sorted. A test of
// cmd/tidemill-executor compares it with the kinds that are registered there, and prints the right list.
const features = `"aggregate.group_by",` +
	`"aggregate.group_by.expr",` +
	`"aggregate.input.columns",` +
	`"aggregate.input.columns.bigint",` +
	`"aggregate.input.columns.boolean",` +
	`"aggregate.input.columns.date",` +
	`"aggregate.input.columns.decimal",` +
	`"aggregate.input.columns.double",` +
	`"aggregate.input.columns.float",` +
	`"aggregate.input.columns.hugeint",` +
	`"aggregate.input.columns.integer",` +
	`"aggregate.input.columns.smallint",` +
	`"aggregate.input.columns.time",` +
	`"aggregate.input.columns.timestamp",` +
	`"aggregate.input.columns.timestamptz",` +
	`"aggregate.input.columns.tinyint",` +
	`"aggregate.input.columns.ubigint",` +
	`"aggregate.input.columns.uinteger",` +
	`"aggregate.input.columns.usmallint",` +
	`"aggregate.input.columns.utinyint",` +
	`"aggregate.input.columns.varchar",` +
	`"aggregate.input.compression.auto",` +
	`"aggregate.input.compression.gzip",` +
	`"aggregate.input.compression.none",` +
	`"aggregate.input.compression.zstd",` +
	`"aggregate.input.connection",` +
	`"aggregate.input.delimiter",` +
	`"aggregate.input.escape",` +
	`"aggregate.input.format.csv",` +
	`"aggregate.input.format.jsonl",` +
	`"aggregate.input.header",` +
	`"aggregate.input.null_values",` +
	`"aggregate.input.quote",` +
	`"aggregate.input.quoted_newlines",` +
	`"aggregate.input.split_size",` +
	`"aggregate.measures",` +
	`"aggregate.measures.approx_distinct",` +
	`"aggregate.measures.approx_quantile",` +
	`"aggregate.measures.avg",` +
	`"aggregate.measures.count",` +
	`"aggregate.measures.max",` +
	`"aggregate.measures.min",` +
	`"aggregate.measures.sum",` +
	`"aggregate.output.compression.gzip",` +
	`"aggregate.output.compression.none",` +
	`"aggregate.output.compression.snappy",` +
	`"aggregate.output.compression.zstd",` +
	`"aggregate.output.connection",` +
	`"aggregate.output.format.csv",` +
	`"aggregate.output.format.parquet",` +
	`"aggregate.where",` +
	`"aggregate.work"`
