// Runs one Nexmark query on an Apache Flink in this process and prints what it took as one JSON line.
//
//   java -cp CLASSPATH NexmarkOnFlink.java QUERY.sql BOOTSTRAP WARM_TOPIC TOPIC STATE_BACKEND PARALLELISM CHECKPOINT_DIR
//
// The query runs twice: over WARM_TOPIC, so that the compiler has seen it, then over TOPIC, which is measured. Its
// sink is `checksum`, which hashes rows as Highwater's connector of that name does.
import java.io.File;
import java.lang.management.ManagementFactory;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.TimestampType;
import org.apache.flink.types.RowKind;

public class NexmarkOnFlink {
    static final AtomicLong ROWS = new AtomicLong(), HASHES = new AtomicLong();

    public static void main(String[] args) throws Exception {
        run(args, args[2], args[6] + "/warm");
        System.gc();
        ROWS.set(0);
        HASHES.set(0);
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long cpu = system.getProcessCpuTime();
        long begun = System.nanoTime();
        run(args, args[3], args[6] + "/measured");
        double seconds = (System.nanoTime() - begun) / 1e9;
        double cpuSeconds = (system.getProcessCpuTime() - cpu) / 1e9;
        System.out.printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"rows\": %d, \"checksum\": \"%016x\"}%n",
                seconds, cpuSeconds, ROWS.get(), HASHES.get());
        System.exit(0);
    }

    static void run(String[] args, String topic, String checkpoints) throws Exception {
        Configuration conf = new Configuration();
        conf.setString("parallelism.default", args[5]);
        conf.setString("pipeline.object-reuse", "true");
        conf.setString("table.local-time-zone", "UTC");
        conf.setString("state.backend.type", args[4]);
        conf.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        conf.setString("execution.checkpointing.interval", "1 s");
        conf.setString("execution.checkpointing.incremental", "true");
        conf.setString("execution.checkpointing.storage", "filesystem");
        conf.setString("execution.checkpointing.dir", new File(checkpoints).toURI().toString());
        conf.setString("table.exec.mini-batch.enabled", "true");
        conf.setString("table.exec.mini-batch.allow-latency", "2 s");
        conf.setString("table.exec.mini-batch.size", "50000");
        conf.setString("table.optimizer.distinct-agg.split.enabled", "true");
        conf.setString("taskmanager.memory.managed.size", "1 gb");
        conf.setString("taskmanager.memory.network.min", "128 mb");
        conf.setString("taskmanager.memory.network.max", "128 mb");
        TableEnvironment env = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(conf).build());
        String source = "'connector' = 'kafka', 'topic' = '" + topic + "', 'properties.bootstrap.servers' = '" + args[1]
                + "', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
        Path query = Path.of(args[0]);
        String sql = Files.readString(query.resolveSibling("tables.sql")) + Files.readString(query);
        List<String> statements = statements(sql.replace("${SOURCE}", source));
        for (String statement : statements) {
            var result = env.executeSql(statement);
            if (statement.startsWith("INSERT")) result.await();
        }
    }

    /** Statements end with a semicolon at the end of a line; comments are whole lines. */
    static List<String> statements(String sql) {
        StringBuilder text = new StringBuilder();
        for (String line : sql.split("\n")) if (!line.startsWith("--")) text.append(line).append('\n');
        List<String> statements = new ArrayList<>();
        for (String statement : text.toString().split(";\\s*\n")) if (!statement.isBlank()) statements.add(statement.strip());
        return statements;
    }

    public static class ChecksumFactory implements DynamicTableSinkFactory {
        @Override public String factoryIdentifier() { return "checksum"; }
        @Override public Set<ConfigOption<?>> requiredOptions() { return Set.of(); }
        @Override public Set<ConfigOption<?>> optionalOptions() { return Set.of(); }
        @Override public DynamicTableSink createDynamicTableSink(Context context) {
            return new ChecksumTable((RowType) context.getPhysicalRowDataType().getLogicalType());
        }
    }

    record ChecksumTable(RowType type) implements DynamicTableSink {
        @Override public ChangelogMode getChangelogMode(ChangelogMode requested) { return ChangelogMode.all(); }
        @Override public SinkRuntimeProvider getSinkRuntimeProvider(Context context) { return SinkV2Provider.of(new Checksum(type)); }
        @Override public DynamicTableSink copy() { return this; }
        @Override public String asSummaryString() { return "checksum"; }
    }

    record Checksum(RowType type) implements Sink<RowData> {
        @Override public SinkWriter<RowData> createWriter(WriterInitContext context) { return new Writer(type); }
    }

    static class Writer implements SinkWriter<RowData> {
        static final long PRIME = 0x9E3779B97F4A7C15L, NULL = 0x6E756C6C6E756C6CL;
        final LogicalType[] types;
        long rows, hashes;

        Writer(RowType type) { types = type.getChildren().toArray(new LogicalType[0]); }

        @Override public void write(RowData row, Context context) {
            long hash = 0;
            for (int i = 0; i < types.length; i++) {
                if (row.isNullAt(i)) { hash = add(hash, NULL); continue; }
                switch (types[i].getTypeRoot()) {
                    case BIGINT -> hash = add(hash, row.getLong(i));
                    case INTEGER, DATE -> hash = add(hash, row.getInt(i));
                    case TIMESTAMP_WITHOUT_TIME_ZONE ->
                            hash = add(hash, row.getTimestamp(i, ((TimestampType) types[i]).getPrecision()).getMillisecond());
                    case DECIMAL -> {
                        DecimalType decimal = (DecimalType) types[i];
                        var value = row.getDecimal(i, decimal.getPrecision(), decimal.getScale());
                        BigInteger unscaled = value.toBigDecimal().unscaledValue();
                        hash = add(add(hash, unscaled.longValue()), unscaled.shiftRight(64).longValue());
                    }
                    case VARCHAR -> hash = add(hash, row.getString(i).toBytes());
                    default -> throw new IllegalStateException("a column of " + types[i] + " cannot be hashed");
                }
            }
            boolean comes = row.getRowKind() == RowKind.INSERT || row.getRowKind() == RowKind.UPDATE_AFTER;
            rows += comes ? 1 : -1;
            hashes += comes ? hash : -hash;
        }

        static long add(long hash, long word) { return (Long.rotateLeft(hash, 5) ^ word) * PRIME; }

        static final java.lang.invoke.VarHandle LONGS =
                java.lang.invoke.MethodHandles.byteArrayViewVarHandle(long[].class, java.nio.ByteOrder.LITTLE_ENDIAN);

        static long add(long hash, byte[] bytes) {
            hash = add(hash, (long) bytes.length);
            int i = 0;
            for (; i + 8 <= bytes.length; i += 8) hash = add(hash, (long) LONGS.get(bytes, i));
            if (i == bytes.length) return hash;
            long last = 0;
            for (int shift = 0; i < bytes.length; i++, shift += 8) last |= (bytes[i] & 0xFFL) << shift;
            return add(hash, last);
        }

        @Override public void flush(boolean end) { publish(); }
        @Override public void close() { publish(); }

        void publish() {
            ROWS.addAndGet(rows);
            HASHES.addAndGet(hashes);
            rows = hashes = 0;
        }
    }
}
