import java.util.concurrent.TimeUnit;
import org.apache.spark.sql.*;
import org.apache.spark.sql.streaming.*;
import static org.apache.spark.sql.functions.*;

/** Spark Structured Streaming from one topic to another, with a restart from its checkpoint: {@code SparkJob BOOTSTRAP IN OUT DIR}. */
public class SparkJob {
    public static void main(String[] args) throws Exception {
        SparkSession spark = SparkSession.builder().master("local[2]").appName("test").config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2").getOrCreate();
        spark.sparkContext().setLogLevel("ERROR");
        Dataset<Row> lines = spark.readStream().format("kafka").option("kafka.bootstrap.servers", args[0])
            .option("subscribe", args[1]).option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", "150").load();
        Dataset<Row> out = lines.selectExpr("key", "upper(CAST(value AS STRING)) AS value");
        StreamingQuery query = out.writeStream().format("kafka").option("kafka.bootstrap.servers", args[0]).option("topic", args[2])
            .option("checkpointLocation", args[3]).trigger(Trigger.AvailableNow()).start();
        query.awaitTermination();
        // The batch source, bounded by offsets and by time.
        long count = spark.read().format("kafka").option("kafka.bootstrap.servers", args[0]).option("subscribe", args[2])
            .option("startingOffsets", "earliest").option("endingOffsets", "latest").load().count();
        long recent = spark.read().format("kafka").option("kafka.bootstrap.servers", args[0]).option("subscribe", args[2])
            .option("startingTimestamp", "1000").option("startingOffsetsByTimestampStrategy", "latest").load().count();
        System.out.println("count " + count + " " + recent);
        spark.stop();
    }
}
