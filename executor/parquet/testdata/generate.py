# Writes the Parquet files beside it, with pyarrow 26.0.1, polars 2.1.0 and duckdb 1.5.5 from PyPI.
# Every file has the same 60 rows unless its name says otherwise.
import datetime as dt, decimal, glob, os, uuid
import duckdb, polars as pl, pyarrow as pa, pyarrow.parquet as pq

os.chdir(os.path.dirname(os.path.abspath(__file__)))
for old in glob.glob("*.parquet"):
    os.remove(old)
N = 60
utc = dt.timezone.utc
def some(i, v): return None if i % 7 == 3 else v
at = lambda i: dt.datetime(2020, 1, 1) + dt.timedelta(days=i, microseconds=i * 1001)
columns = {
    "id": pa.array(range(N), pa.int64()),
    "small": pa.array([some(i, i % 5 - 2) for i in range(N)], pa.int8()),
    "u8": pa.array([some(i, 250 - i) for i in range(N)], pa.uint8()),
    "u32": pa.array([some(i, 2**32 - 1 - i) for i in range(N)], pa.uint32()),
    "u64": pa.array([some(i, 2**64 - 1 - i) for i in range(N)], pa.uint64()),
    "f32": pa.array([some(i, i / 8) for i in range(N)], pa.float32()),
    "f64": pa.array([some(i, float("nan") if i == 5 else i * 1.1) for i in range(N)], pa.float64()),
    "flag": pa.array([some(i, i % 2 == 0) for i in range(N)], pa.bool_()),
    "dec9": pa.array([some(i, decimal.Decimal(i - 30) / 100) for i in range(N)], pa.decimal128(9, 2)),
    "dec38": pa.array([some(i, decimal.Decimal(10**30 + i)) for i in range(N)], pa.decimal128(38, 4)),
    "text": pa.array([some(i, ["", "a", "ä ö", "日本", "b" * 40][i % 5]) for i in range(N)], pa.string()),
    "blob": pa.array([some(i, bytes([i, 0, 255])) for i in range(N)], pa.binary()),
    "day": pa.array([some(i, (at(i) - dt.timedelta(days=20000)).date()) for i in range(N)], pa.date32()),
    "ts_ms": pa.array([some(i, at(i).replace(microsecond=0)) for i in range(N)], pa.timestamp("ms")),
    "ts_us": pa.array([some(i, at(i)) for i in range(N)], pa.timestamp("us")),
    "ts_ns": pa.array([some(i, at(i)) for i in range(N)], pa.timestamp("ns")),
    "ts_tz": pa.array([some(i, at(i).replace(tzinfo=utc)) for i in range(N)], pa.timestamp("us", "UTC")),
    "time_ms": pa.array([some(i, dt.time(i % 24, i)) for i in range(N)], pa.time32("ms")),
    "time_us": pa.array([some(i, dt.time(i % 24, i, 1, i)) for i in range(N)], pa.time64("us")),
    "cat": pa.array([some(i, "xyz"[i % 3]) for i in range(N)]).dictionary_encode(),
    "list": pa.array([some(i, list(range(i % 4))) for i in range(N)], pa.list_(pa.int32())),
    "s": pa.array([some(i, {"a": i, "b": {"c": str(i % 3)}}) for i in range(N)], pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.string())]))])),
    "m": pa.array([some(i, [("k%d" % (i % 3), i)]) for i in range(N)], pa.map_(pa.string(), pa.int64())),
}
table = pa.table(columns)
def write(name, **options): pq.write_table(table, name + ".parquet", **({"row_group_size": 25} | options))
write("pyarrow")
for codec in ["none", "gzip", "brotli", "lz4", "zstd"]:
    write("pyarrow_" + codec, compression=codec)
write("pyarrow_v2_index", data_page_version="2.0", write_page_index=True, data_page_size=256)
write("pyarrow_no_statistics", write_statistics=False)
write("pyarrow_fallback", dictionary_pagesize_limit=64, data_page_size=128)
write("pyarrow_v1", version="1.0", use_deprecated_int96_timestamps=True)
write("pyarrow_plain", use_dictionary=False)
delta = {"id": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY", "blob": "DELTA_LENGTH_BYTE_ARRAY", "f64": "BYTE_STREAM_SPLIT"}
write("pyarrow_delta", use_dictionary=["cat"], column_encoding=delta)
pq.write_table(table.slice(0, 0), "pyarrow_no_rows.parquet")
w = pq.ParquetWriter("pyarrow_no_groups.parquet", table.schema); w.close()
w = pq.ParquetWriter("pyarrow_empty_group.parquet", table.schema)
for part in [table.slice(0, 30), table.slice(0, 0), table.slice(30)]:
    w.write_table(part) if len(part) else w.write_batch(pa.RecordBatch.from_pylist([], schema=table.schema))
w.close()
names = pa.table({"a": [1, 2], "A": [3, 4], "x.y": [5, 6], "": [7, 8], 'q"r': [9, 10], "é": [11, 12]})
pq.write_table(names, "pyarrow_names_2rows.parquet")

db = duckdb.connect()
source = "read_parquet('pyarrow.parquet')"
db.sql(f"COPY (SELECT * FROM {source}) TO 'duckdb.parquet' (ROW_GROUP_SIZE 2048)")
db.sql(f"""COPY (SELECT *, ('2b9a1bd0-0d0c-4ba0-8f4c-0000000000' || (10 + id % 80)::VARCHAR)::UUID AS u, json_object('a', id) AS j,
  id::HUGEINT AS h, CASE WHEN id % 2 = 0 THEN 'on' ELSE 'off' END::ENUM('on', 'off') AS e, to_days(id::INT) AS span
  FROM {source}) TO 'duckdb_v2.parquet' (PARQUET_VERSION v2, COMPRESSION lz4_raw)""")
pl.read_parquet("pyarrow.parquet").drop("m").write_parquet("polars.parquet", row_group_size=25)
pl.read_parquet("pyarrow.parquet").drop("m").head(0).write_parquet("polars_no_rows.parquet")
print({f: os.path.getsize(f) for f in sorted(glob.glob("*.parquet"))})
