import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.storm.Config;
import org.apache.storm.LocalCluster;
import org.apache.storm.kafka.spout.*;
import org.apache.storm.task.*;
import org.apache.storm.topology.*;
import org.apache.storm.topology.base.BaseRichBolt;
import org.apache.storm.tuple.Tuple;

/** Storm's KafkaSpout in a local cluster: {@code StormJob BOOTSTRAP TOPIC COUNT}, until each value was seen and acked. */
public class StormJob {
    static final Set<String> SEEN = ConcurrentHashMap.newKeySet();
    static final Set<String> FAILED = ConcurrentHashMap.newKeySet();

    static class Count extends BaseRichBolt {
        private transient OutputCollector collector;

        public void prepare(Map<String, Object> conf, TopologyContext context, OutputCollector collector) { this.collector = collector; }

        public void execute(Tuple tuple) {
            String value = tuple.getStringByField("value");
            // Each seventh fails once, so that the spout has to send it again.
            if (value.hashCode() % 7 == 0 && FAILED.add(value)) { collector.fail(tuple); return; }
            SEEN.add(value);
            collector.ack(tuple);
        }

        public void declareOutputFields(OutputFieldsDeclarer declarer) { }
    }

    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[2]);
        KafkaSpoutConfig<String, String> spout = KafkaSpoutConfig.builder(args[0], args[1])
            .setProp("group.id", "storm").setFirstPollOffsetStrategy(FirstPollOffsetStrategy.EARLIEST)
            .setProcessingGuarantee(KafkaSpoutConfig.ProcessingGuarantee.AT_LEAST_ONCE).setOffsetCommitPeriodMs(500).build();
        TopologyBuilder builder = new TopologyBuilder();
        builder.setSpout("spout", new KafkaSpout<>(spout), 1);
        builder.setBolt("count", new Count(), 1).shuffleGrouping("spout");
        Config config = new Config();
        config.setNumWorkers(1);
        try (LocalCluster cluster = new LocalCluster(); var topology = cluster.submitTopology("test", config, builder.createTopology())) {
            for (int tries = 0; SEEN.size() < count && tries < 600; tries++) Thread.sleep(100);
            Thread.sleep(1500);
            System.out.println("seen " + SEEN.size() + " failed once " + FAILED.size());
            System.out.flush();
            Runtime.getRuntime().halt(SEEN.size() == count ? 0 : 1);
        }
    }
}
