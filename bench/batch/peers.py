"""Does one aggregation with one of the peers: peers.py PEER DATASET FORMAT CARDINALITY THREADS INPUT OUTPUT."""
import sys

peer, dataset, form, cardinality, threads, source, target = sys.argv[1:]
threads = int(threads)
if dataset == "rows":
    keys, amount, price, most = [cardinality], "amount", "price", "price"
    columns = {"id": "BIGINT", "at": "TIMESTAMP", "low": "BIGINT", "medium": "BIGINT", "high": "BIGINT",
               "amount": "BIGINT", "price": "DOUBLE", "city": "VARCHAR", "note": "VARCHAR"}
else:
    keys = {"low": ["carrier"], "medium": ["origin", "dest", "month", "day"]}[cardinality]
    amount, price, most = "distance", "dep_delay", "arr_delay"
    columns = {n: "BIGINT" for n in ("year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time "
                                     "arr_delay carrier flight tailnum origin dest air_time distance hour minute time_hour").split()}
    for n in ("carrier", "tailnum", "origin", "dest", "time_hour"):
        columns[n] = "VARCHAR"
used = set(keys + [amount, price, most])


def by_duckdb():
    import duckdb
    db = duckdb.connect(config={"threads": threads})
    declared = "{" + ", ".join(f"'{n}': '{t}'" for n, t in columns.items()) + "}"
    wanted = "{" + ", ".join(f"'{n}': '{t}'" for n, t in columns.items() if n in used) + "}"
    read = {
        "jsonl": f"read_json('{source}/*', format='newline_delimited', columns={wanted})",
        "csv": f"read_csv('{source}/*', header=true, nullstr='NA', auto_detect=false, delim=',', quote='\"', escape='\"', columns={declared})",
        "parquet": f"read_parquet('{source}/*')",
    }[form]
    by = ", ".join(keys)
    db.execute(f"COPY (SELECT {by}, count(*) AS n, sum({amount})::BIGINT AS total, avg({price}) AS mean, max({most}) AS most "
               f"FROM {read} GROUP BY {by}) TO '{target}/result.parquet' (COMPRESSION zstd)")


def by_polars():
    import os
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import glob
    import polars as pl
    files = sorted(glob.glob(source + "/*"))
    kinds = {"BIGINT": pl.Int64, "DOUBLE": pl.Float64, "VARCHAR": pl.String, "TIMESTAMP": pl.String}
    if form == "parquet":
        rows = pl.scan_parquet(files)
    elif form == "csv":
        rows = pl.scan_csv(files, schema={n: kinds[t] for n, t in columns.items()}, null_values="NA")
    else:
        rows = pl.scan_ndjson(files, schema={n: kinds[t] for n, t in columns.items() if n in used})
    result = rows.group_by(keys).agg(pl.len().cast(pl.Int64).alias("n"), pl.col(amount).sum().alias("total"),
                                     pl.col(price).mean().alias("mean"), pl.col(most).max().alias("most"))
    result.sink_parquet(target + "/result.parquet", compression="zstd")


def by_pyspark():
    from pyspark.sql import SparkSession, functions as f
    from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType
    session = (SparkSession.builder.master(f"local[{threads}]").config("spark.ui.enabled", "false")
               .config("spark.driver.memory", "8g").config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
               .config("spark.sql.shuffle.partitions", str(4 * threads if cardinality != "high" else 64))
               .config("spark.local.dir", target).config("spark.sql.session.timeZone", "UTC").getOrCreate())
    session.sparkContext.setLogLevel("ERROR")
    kinds = {"BIGINT": LongType(), "DOUBLE": DoubleType(), "VARCHAR": StringType(), "TIMESTAMP": StringType()}
    if form == "parquet":
        rows = session.read.parquet(source)
    elif form == "csv":
        rows = session.read.csv(source, header=True, nullValue="NA", schema=StructType([StructField(n, kinds[t]) for n, t in columns.items()]))
    else:
        rows = session.read.json(source, schema=StructType([StructField(n, kinds[t]) for n, t in columns.items() if n in used]))
    result = rows.groupBy(*keys).agg(f.count("*").alias("n"), f.sum(amount).alias("total"), f.avg(price).alias("mean"), f.max(most).alias("most"))
    result.write.parquet(target + "/spark", compression="zstd")
    gateway = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()  # so that its CPU counts


{"duckdb": by_duckdb, "polars": by_polars, "pyspark": by_pyspark}[peer]()
