import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.*;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Flink's Kafka source and exactly-once sink: {@code FlinkJob BOOTSTRAP IN OUT COUNT}. Fails once in the midst, on purpose,
 * and goes on from its last checkpoint.
 */
public class FlinkJob {
    static volatile int seen;
    static volatile boolean failed;

    static class FailOnce implements MapFunction<String, String> {
        private final int at;

        FailOnce(int at) { this.at = at; }

        public String map(String value) throws Exception {
            Thread.sleep(2);
            if (++seen >= at && !failed) {
                failed = true;
                throw new IllegalStateException("on purpose");
            }
            return "out-" + value;
        }
    }

    public static void main(String[] args) throws Exception {
        Configuration config = new Configuration();
        config.setString("restart-strategy.type", "fixed-delay");
        config.setString("restart-strategy.fixed-delay.attempts", "2");
        config.setString("restart-strategy.fixed-delay.delay", "500 ms");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, config);
        env.enableCheckpointing(300);
        KafkaSource<String> source = KafkaSource.<String>builder().setBootstrapServers(args[0]).setTopics(args[1]).setGroupId("flink")
            .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest())
            .setProperty("commit.offsets.on.checkpoint", "true").setValueOnlyDeserializer(new SimpleStringSchema()).build();
        KafkaSink<String> sink = KafkaSink.<String>builder().setBootstrapServers(args[0])
            .setRecordSerializer(KafkaRecordSerializationSchema.builder().setTopic(args[2]).setValueSerializationSchema(new SimpleStringSchema()).build())
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix("flink-test")
            .setProperty("transaction.timeout.ms", "60000").build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "source").map(new FailOnce(Integer.parseInt(args[3]) / 2)).sinkTo(sink);
        env.execute("test");
        if (!failed) throw new AssertionError("did not fail in the midst");
        System.out.println("done");
    }
}
